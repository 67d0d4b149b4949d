"""Small BLIP-2s of every kind of tower, and batches for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.blip2_image import TowerConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.eva import EVAConfig
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig

CLS, SEP, DEC = 27, 28, 30
QFORMER = QFormerConfig(
    queries=5, vocab_size=31, context=12, width=12, layers=2, heads=3, image_width=12, cls=CLS,
    sep=SEP, dec=DEC,
)  # fmt: skip
TOWERS: dict[str, TowerConfig] = {
    "vit": ViTConfig(image_size=16, patch_size=8, width=12, layers=3, heads=3),
    "eva": EVAConfig(image_size=16, patch_size=8, width=12, layers=2, heads=3, mlp_ratio=1.5),
    "blip": BLIPViTConfig(image_size=16, patch_size=8, width=12, layers=2, heads=3),
    "grid": ResNetConfig(
        image_size=16, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1)
    ),
}


def config(tower: str = "vit", **changes: Any) -> BLIP2Config:
    """A BLIP-2 with one of the towers."""
    image = TOWERS[tower]
    qformer = replace(QFORMER, image_width=64 if tower == "grid" else 12)
    return BLIP2Config(**{"embed": 6, "image": image, "qformer": qformer} | changes)


def blip2(tower: str = "vit", seed: int = 0, **changes: Any) -> BLIP2:
    """One with random weights."""
    torch.manual_seed(seed)
    return BLIP2(config(tower, **changes))


def batch(n: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """Pictures of noise, and texts [CLS] w … [SEP] of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, CLS, (n, 7), generator=generator)
    tokens[:, 0] = CLS
    lengths = 4 + torch.arange(n) % 4
    tokens[torch.arange(n), lengths - 1] = SEP
    mask = torch.arange(7) < lengths[:, None]
    pixels = torch.randn(n, 3, 16, 16, generator=generator)
    return {"pixels": pixels, "tokens": tokens.masked_fill(~mask, 0), "mask": mask}
