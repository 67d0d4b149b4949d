"""CLIP's Vision Transformer tower (Dosovitskiy et al. 2021; Radford et al. 2021, section 2.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers.attention import Attention, head_channels
from vlcourse.layers.block import MLP, Block, activation_called
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.layers.states import block_states
from vlcourse.models.base import HEADS, HIDDEN, LAYERS, WIDTH


@dataclass(frozen=True)
class ViTConfig:
    """Shape of a Vision Transformer tower."""

    image_size: int = 224
    """Height and width of the input, in pixels."""
    patch_size: int = 32
    """Height and width of a patch, in pixels; must divide the image size."""
    width: int = 768
    """Size of the token vectors."""
    layers: int = 12
    """Number of Transformer blocks."""
    heads: int = 12
    """Attention heads in each block."""
    mlp_ratio: float = 4.0
    """Hidden size of the MLP, in multiples of the width."""
    activation: str = "quick_gelu"
    """Non-linearity of the MLP: gelu or quick_gelu."""

    def __post_init__(self) -> None:
        check(self, image_size=(1, 16_384), patch_size=(1, 16_384), width=WIDTH, layers=LAYERS)
        check(self, heads=HEADS, mlp_ratio=(0, 64), mlp_hidden=HIDDEN)
        head_channels(self.width, self.heads)
        activation_called(self.activation)
        if self.image_size % self.patch_size:
            raise ModelError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        check(self, patches=(1, 1_000_000))

    @property
    def patches(self) -> int:
        """Number of patches in an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def mlp_hidden(self) -> int:
        """Hidden size of the MLP."""
        return round(self.width * self.mlp_ratio)


class ViT(nn.Module):
    """Image → one feature vector, from the class token after ``norm_post``.

    CLIP's changes to the original: no bias in the patch convolution, and an additional LayerNorm
    before the blocks.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.width = c.width
        self.patch = nn.Conv2d(3, c.width, c.patch_size, stride=c.patch_size, bias=False)
        self.class_token = nn.Parameter(torch.empty(c.width))
        self.positions = nn.Parameter(torch.empty(c.patches + 1, c.width))
        self.norm_pre = nn.LayerNorm(c.width)
        self.blocks = nn.ModuleList(
            Block(c.width, Attention(c.width, c.heads), MLP(c.width, c.mlp_hidden, c.activation))
            for _ in range(c.layers)
        )
        self.norm_post = nn.LayerNorm(c.width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """CLIP's initialisation: class token and positions N(0, width^-½)."""
        std = self.width**-0.5
        nn.init.normal_(self.class_token, std=std)
        nn.init.normal_(self.positions, std=std)

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode images.

        Args:
            pixels: (B, 3, S, S) normalised images of the configured size.

        Returns:
            (B, width) features of the class token, before any projection, and the intermediates
            ``{"tokens": (B, 1 + patches, width)}`` (the blocks' output).

        Raises:
            ModelError: when the images have another size than the tower was built for.
        """
        if pixels.shape[-2:] != (self.config.image_size, self.config.image_size):
            raise ModelError(
                f"this tower takes {self.config.image_size} px images, not "
                f"{pixels.shape[-2]}×{pixels.shape[-1]}: resize them first"
            )
        x = patch_embedding(pixels, self.patch.weight)  # (B, patches, D)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, 1 + patches, D)
        x = self.norm_pre(x + self.positions)
        for block in self.blocks:
            x = block(x)
        return self.norm_post(x[:, 0]), {"tokens": x}

    def states(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, 1 + patches, width) after each block; the images as in :meth:`forward`."""
        return block_states(self.blocks, lambda: self(pixels))


def patch_embedding(images: Tensor, weight: Tensor) -> Tensor:
    """An image as a sequence: each patch by one linear map, read row by row.

    Args:
        images: (B, 3, H, W).
        weight: (D, 3, P, P), a convolution whose stride is its size; what is left of an image
            beyond the last whole patch is not read.

    Returns:
        (B, H/P · W/P, D).
    """
    grid = F.conv2d(images, weight, stride=weight.shape[-2:])  # (B, D, H/P, W/P)
    return rearrange(grid, "b d h w -> b (h w) d")


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Position vectors of a square grid, interpolated (bicubic) to another number of cells.

    Args:
        positions: (1 + g², D); the first row is the class token's (in attention pooling the mean's)
            and stays as it is.
        grid: cells along each side of the new grid.

    Returns:
        (1 + grid², D), a new tensor of the same type.

    Raises:
        ModelError: when the number of rows is not 1 + a square.
    """
    first, cells = positions[:1], positions[1:]
    side = math.isqrt(len(cells))
    if side * side != len(cells) or not len(cells):
        raise ModelError(f"{len(positions)} positions are not one and a square grid")
    if side == grid:
        return positions.clone()
    picture = rearrange(cells.float(), "(h w) d -> 1 d h w", h=side)
    picture = F.interpolate(picture, (grid, grid), mode="bicubic", antialias=True)
    return torch.cat([first, rearrange(picture, "1 d h w -> (h w) d").to(first.dtype)])
