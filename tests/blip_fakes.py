"""A tiny BLIP with random weights, and a fake whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.blip_vqa import BLIPAnswerer
from vlcourse.models.med import MEDConfig
from vlcourse.tokenizers import med

IMAGE = BLIPViTConfig(image_size=32, patch_size=16, width=32, layers=1, heads=2)
TEXT = MEDConfig(
    vocab_size=723, context=64, width=32, layers=2, heads=2, image_width=32,
    cls=719, sep=720, pad=0, enc=721, dec=722,
)  # fmt: skip


def tiny_blip(seed: int = 0) -> BLIP:
    torch.manual_seed(seed)
    model = BLIPConfig(embed=16, image=IMAGE, text=TEXT, queue=8).build().eval()
    for parameter in model.parameters():  # far from 0, so that differences show
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.2)
    return model


class Knowing(nn.Module):
    """A model that judges by a function of the picture's first pixel and the text's words.

    Pictures are known by the value of their first pixel, texts by their first word's id.
    """

    def __init__(self, judge: Callable[[int, str], float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(
            image=SimpleNamespace(image_size=32), text=SimpleNamespace(context=64)
        )
        self.judge, self.looked = judge, 0

    def image_tokens(self, pixels: Tensor) -> Tensor:
        from vlcourse.data.collate.pictures import denormalise

        return denormalise(pixels)[:, :1, 0, :1].float()  # (B, 1, 1)

    def match(
        self, pixels: None, tokens: Tensor, mask: Tensor, image_tokens: Tensor, rows: Tensor
    ) -> Tensor:
        self.looked += len(tokens)
        texts = [med.toy().decode(row[m].tolist()) for row, m in zip(tokens, mask, strict=True)]
        pictures = image_tokens[rows, 0, 0].int().tolist()
        logits = [self.judge(i, text) for i, text in zip(pictures, texts, strict=True)]
        return torch.tensor([[0.0, logit] for logit in logits])


def tiny_answerer(seed: int = 0) -> BLIPAnswerer:
    """A `BLIPAnswerer` made of the tiny BLIP."""
    return BLIPAnswerer.from_blip(tiny_blip(seed)).eval()
