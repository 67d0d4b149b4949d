"""BLIP's image tower: DeiT's Vision Transformer (Dosovitskiy et al. 2021; Touvron et al. 2021)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers.attention import Attention, head_channels
from vlcourse.layers.block import MLP, Block
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.layers.states import block_states
from vlcourse.models.base import EPS, HEADS, HIDDEN, LAYERS, WIDTH


@dataclass(frozen=True)
class BLIPViTConfig:
    """Shape of BLIP's Vision Transformer."""

    image_size: int = 224
    """Height and width of the input, in pixels."""
    patch_size: int = 16
    """Height and width of a patch, in pixels; must divide the image size."""
    width: int = 768
    """Size of the token vectors."""
    layers: int = 12
    """Number of Transformer blocks."""
    heads: int = 12
    """Attention heads in each block."""
    mlp_ratio: float = 4.0
    """Hidden size of the MLP, in multiples of the width."""
    norm_eps: float = 1e-6
    """Added to the variance in LayerNorm: timm's. (BLIP's settings on the hub say 1e-5.)"""

    def __post_init__(self) -> None:
        check(self, image_size=(1, 16_384), patch_size=(1, 16_384), width=WIDTH, layers=LAYERS)
        check(self, heads=HEADS, mlp_ratio=(0, 64), mlp_hidden=HIDDEN, norm_eps=EPS)
        head_channels(self.width, self.heads)
        grid_of(self.image_size, self.image_size, self.patch_size)
        check(self, patches=(1, 1_000_000))

    @property
    def patches(self) -> int:
        """Number of patches in an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def mlp_hidden(self) -> int:
        """Hidden size of the MLP."""
        return round(self.width * self.mlp_ratio)


class BLIPViT(nn.Module):
    """Image → its tokens: the class token and one a patch, all after the final norm.

    Other than CLIP's (:mod:`vlcourse.models.vit`): a bias in the patch convolution, no norm before
    the blocks, exact GELU, and a final norm over all tokens, because the text looks at all of them.

    Attributes:
        size: height and width of its images, in pixels; ``config.image_size`` twice, unless
            :meth:`at_resolution` made it.
    """

    def __init__(self, config: BLIPViTConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.width = c.width
        self.size = (c.image_size, c.image_size)
        self.patch = nn.Conv2d(3, c.width, c.patch_size, stride=c.patch_size)
        self.class_token = nn.Parameter(torch.empty(c.width))
        self.positions = nn.Parameter(torch.empty(c.patches + 1, c.width))
        self.blocks = nn.ModuleList(
            Block(c.width, Attention(c.width, c.heads), MLP(c.width, c.mlp_hidden), c.norm_eps)
            for _ in range(c.layers)
        )
        self.norm_final: nn.Module = nn.LayerNorm(c.width, eps=c.norm_eps)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """timm's: class token, positions and linear maps N(0, 0.02²), their biases 0."""
        nn.init.normal_(self.class_token, std=0.02)
        nn.init.normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode images.

        Args:
            pixels: (B, 3, H, W) normalised images of the tower's size.

        Returns:
            (B, width) features of the class token, before any projection, and
            ``{"tokens": (B, 1 + patches, width)}``, the class token first, then row by row.

        Raises:
            ModelError: when the images have another size than the tower's.
        """
        if tuple(pixels.shape[-2:]) != self.size:
            raise ModelError(
                f"this tower takes images of {self.size[0]}×{self.size[1]} px, not "
                f"{pixels.shape[-2]}×{pixels.shape[-1]}: resize them, or the tower (at_resolution)"
            )
        x = rearrange(self.patch(pixels), "b d h w -> b (h w) d")  # (B, patches, D)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, 1 + patches, D)
        x = x + self.positions
        for block in self.blocks:
            x = block(x)
        x = self.norm_final(x)
        return x[:, 0], {"tokens": x}

    def at_resolution(self, height: int, width: int | None = None) -> BLIPViT:
        """A copy for images of another size, square or not: its positions are interpolated.

        Args:
            height, width: of the images, in pixels; multiples of the patch. One number: a square.

        Raises:
            ModelError: when they are no multiples of the patch.
        """
        width = height if width is None else width
        patch = self.config.patch_size
        old, new = (grid_of(h, w, patch) for h, w in (self.size, (height, width)))
        other = copy.deepcopy(self)
        other.positions.data = resize_grid(self.positions.data, old, new)
        other.size = (height, width)
        if height == width:
            other.config = replace(self.config, image_size=height)
        return other

    def states(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, 1 + patches, width) after each block; the images as in :meth:`forward`."""
        return block_states(self.blocks, lambda: self(pixels))


def grid_of(height: int, width: int, patch: int) -> tuple[int, int]:
    """Patches in a column and in a row; ModelError when they do not cover the image."""
    if height % patch or width % patch:
        raise ModelError(f"an image of {height}×{width} px is no grid of patches of {patch} px")
    return height // patch, width // patch


def resize_grid(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Position vectors of one grid, interpolated to another.

    Bicubic without antialiasing, as BLIP's own code and transformers do it. (CLIP's way is
    :func:`vlcourse.models.vit.resize_positions`, which differs a little.)

    Args:
        positions: (1 + h · w, D); the first row is the class token's, and stays as it is.
        old, new: rows and columns of the grids.

    Returns:
        (1 + new rows · new columns, D), a new tensor of the same type.
    """
    if old == new:
        return positions.clone()
    picture = rearrange(positions[1:].float(), "(h w) d -> 1 d h w", h=old[0])
    picture = F.interpolate(picture, new, mode="bicubic", align_corners=False)
    cells = rearrange(picture, "1 d h w -> (h w) d").to(positions.dtype)
    return torch.cat([positions[:1], cells])
