"""Small VideoChats, and batches of videos for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from tiny_blip2 import LLMS, QFORMER, START, TOWERS, WORDS
from torch import Tensor, nn

from vlcourse.models.gmhra import GMHRAConfig
from vlcourse.models.videochat import VideoChat, VideoChatConfig

SMALL = GMHRAConfig(layers=1, heads=2, mlp_ratio=1.5)


def config(tower: str = "grid", llm: str = "llama", **changes: Any) -> VideoChatConfig:
    """A VideoChat on one of the towers."""
    qformer = replace(QFORMER, text="none", image_width=64 if tower == "grid" else 12)
    given: dict[str, Any] = {
        "image": TOWERS[tower], "image_embed": 6, "qformer": qformer, "llm": LLMS[llm],
        "gmhra": SMALL, "extra_queries": 3, "extra_std": 0.02,
    } | changes  # fmt: skip
    return VideoChatConfig(**given)


def videochat(tower: str = "grid", llm: str = "llama", seed: int = 0, **changes: Any) -> VideoChat:
    """One whose every weight is large enough to matter."""
    torch.manual_seed(seed)
    model = config(tower, llm, **changes).build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        norms = [m for m in model.image.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:  # else a grid's features would hardly differ
            norm.weight.fill_(1.0)
            norm.bias.zero_()
            norm.training, norm.momentum = True, 1.0
        if norms:
            model.image(torch.randn(64, 3, 16, 16))
        for norm in norms:
            norm.training = False
    return model.eval()


def asked(n: int = 4, frames: int = 3, seed: int = 0) -> dict[str, Tensor]:
    """Videos of noise with texts of different lengths, the queries after 2 or 3 tokens of these."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, WORDS, (n, 9), generator=generator)
    tokens[:, 0] = START
    lengths = 6 + torch.arange(n) % 4
    learned = (torch.arange(9) < lengths[:, None]) & (torch.arange(9) >= 4)
    targets = tokens.roll(-1, 1).masked_fill(~learned.roll(-1, 1), -100)
    targets[:, -1] = -100
    return {
        "pixels": torch.randn(n, frames, 3, 16, 16, generator=generator),
        "seconds": torch.arange(frames).expand(n, frames) * 1.5 + 0.25,
        "tokens": tokens,
        "targets": targets,
        "at": 2 + torch.arange(n) % 2,
    }
