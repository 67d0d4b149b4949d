"""EVA's ViT-g as BLIP-2 has it: a tower without its last block, and without a last norm."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from vlcourse.models.blip_vit import BLIPViT, BLIPViTConfig


@dataclass(frozen=True)
class EVAConfig(BLIPViTConfig):
    """Shape of EVA-CLIP's ViT-g/14 (Fang et al. 2023, table 5), its last block left out."""

    patch_size: int = 14
    width: int = 1408
    layers: int = 39
    heads: int = 16
    mlp_ratio: float = 6144 / 1408


class EVA(BLIPViT):
    """Image → its tokens as the last block left them; keys have no bias.

    A bias of the keys adds the same to all of a query's dot products, and softmax does not see it.
    """

    def __init__(self, config: EVAConfig) -> None:
        super().__init__(config)
        self.norm_final = nn.Identity()
        for block in self.blocks:
            attention: nn.Module = block.attention  # type: ignore[assignment]
            attention.k = nn.Linear(config.width, config.width, bias=False)
            nn.init.normal_(attention.k.weight, std=0.02)
