"""BLIP's image side: a tower, and the tokens that the text model looks at."""

from __future__ import annotations

import math

from torch import Tensor, nn

from vlcourse.layers.errors import ModelError
from vlcourse.layers.positions import sine_grid
from vlcourse.models.blip_vit import BLIPViT, BLIPViTConfig
from vlcourse.models.med_config import MEDConfig
from vlcourse.models.resnet import ResNet, ResNetConfig


def check_width(image: BLIPViTConfig | ResNetConfig, text: MEDConfig) -> None:
    """Refuse a text model that expects image tokens of another width than the tower's."""
    width = image.width if isinstance(image, BLIPViTConfig) else 32 * image.width
    if text.image_width != width:
        raise ModelError(
            f"the image tower's tokens have width {width}, and text.image_width is "
            f"{text.image_width}: make them equal"
        )


class GridTokens(nn.Module):
    """LN(token) + position: the cells of a convolution's grid hardly know where they are.

    The positions are learned, and begin as :func:`vlcourse.layers.positions.sine_grid`. From noise
    of a fiftieth of the tokens' size BLIP's text model learned what is shown, and never where.

    Args:
        side: cells along an edge.
        width: of the tokens.
    """

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.positions = nn.Parameter(sine_grid(side, width + -width % 4)[:, :width].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) → (B, N, C)."""
        return self.norm(tokens) + self.positions


def tower(config: BLIPViTConfig | ResNetConfig, embed: int) -> tuple[BLIPViT | ResNet, nn.Module]:
    """An image tower, and what makes of its tokens those that the text looks at."""
    if isinstance(config, BLIPViTConfig):
        return BLIPViT(config), nn.Identity()
    image = ResNet(config, embed)
    return image, GridTokens(math.isqrt(len(image.pool.positions) - 1), image.width)
