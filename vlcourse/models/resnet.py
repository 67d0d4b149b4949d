"""CLIP's modified ResNet tower (Radford et al. 2021, section 2.4)."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers.attention import Attention, head_channels
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.layers.states import block_states
from vlcourse.models.base import HEADS, LAYERS

EXPANSION = 4  # a bottleneck's output has four times its inner channels


@dataclass(frozen=True)
class ResNetConfig:
    """Shape of a modified ResNet tower."""

    image_size: int = 224
    """Height and width of the input, in pixels; a multiple of the total stride."""
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Bottleneck blocks in each of the four stages."""
    width: int = 64
    """Channels after the stem; the last stage gives 32 times as many."""
    heads: int = 32
    """Heads of the attention pooling."""
    strides: tuple[int, int, int, int] = (1, 2, 2, 2)
    """By how much each stage makes the grid smaller, after the stem has made it 4 times smaller;
    less than in the paper keeps a grid of a small picture, for what reads its cells one by one."""

    def __post_init__(self) -> None:
        check(self, image_size=(4, 16_384), width=(2, 8_192), heads=HEADS)
        if len(self.strides) != 4 or not all(1 <= stride <= 8 for stride in self.strides):
            raise ModelError(f"strides {self.strides} are not four numbers of 1 to 8")
        if self.image_size % self.stride:
            raise ModelError(f"image_size {self.image_size} is not a multiple of {self.stride}")
        if len(self.layers) != 4 or not all(1 <= count <= LAYERS[1] for count in self.layers):
            raise ModelError(
                f"layers {self.layers} are not four numbers of 1 to {LAYERS[1]} blocks"
            )
        if self.width % 2:
            raise ModelError(f"width {self.width} is odd, and the stem begins with half of it")
        head_channels(32 * self.width, self.heads)

    @property
    def stride(self) -> int:
        """Pixels of the input, in each direction, for a cell of the last grid: 32 in the paper."""
        return 4 * math.prod(self.strides)

    @property
    def grid(self) -> int:
        """Height and width of the last grid, in cells."""
        return self.image_size // self.stride


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions and a shortcut; where it halves the picture, it averages first.

    Striding by an average pool instead of a strided convolution looks at every position, so a
    shift of the picture by a pixel changes the features little (ResNet-D; "anti-aliased").
    """

    def __init__(self, channels: int, inner: int, stride: int = 1) -> None:
        super().__init__()
        out = inner * EXPANSION
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.pool: nn.Module = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.shortcut = nn.Sequential(
                OrderedDict(
                    pool=nn.AvgPool2d(stride),
                    conv=nn.Conv2d(channels, out, 1, bias=False),
                    bn=nn.BatchNorm2d(out),
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, 4·inner, H/stride, W/stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.pool(F.relu(self.bn2(self.conv2(y))))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class AttentionPool(nn.Module):
    """One multi-head attention whose query is the mean of the positions, instead of their mean.

    The output projection goes straight into the joint space: it is the tower's projection.
    """

    def __init__(self, positions: int, width: int, heads: int, embed: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(positions + 1, width) * width**-0.5)
        self.attention = Attention(width, heads, out_width=embed)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, embed)."""
        x = rearrange(x, "b c h w -> b (h w) c")
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positions  # (B, 1 + HW, C)
        return self.attention(x[:, :1], context=x)[:, 0]


class ResNet(nn.Module):
    """Image → its embedding. The stem is three 3×3 convolutions and an average pool."""

    def __init__(self, config: ResNetConfig, embed: int) -> None:
        super().__init__()
        c = config
        self.config = c
        half = c.width // 2
        self.stem = nn.Sequential(
            *_conv_bn_relu(3, half, stride=2),
            *_conv_bn_relu(half, half),
            *_conv_bn_relu(half, c.width),
            nn.AvgPool2d(2),
        )
        blocks: list[nn.Module] = []
        channels = c.width
        for stage, count in enumerate(c.layers):
            inner = c.width * 2**stage
            for i in range(count):
                blocks.append(Bottleneck(channels, inner, c.strides[stage] if i == 0 else 1))
                channels = inner * EXPANSION
        self.blocks = nn.ModuleList(blocks)
        self.width = channels
        self.pool = AttentionPool(c.grid**2, channels, c.heads, embed)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """openai/CLIP: attention pooling N(0, width^-½); each block starts as its shortcut."""
        for linear in (self.pool.attention.q, self.pool.attention.k, self.pool.attention.v):
            nn.init.normal_(linear.weight, std=self.width**-0.5)
        nn.init.normal_(self.pool.attention.out.weight, std=self.width**-0.5)
        for block in self.blocks:
            assert isinstance(block, Bottleneck)
            nn.init.zeros_(block.bn3.weight)

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode images.

        Args:
            pixels: (B, 3, S, S) normalised images of the configured size.

        Returns:
            (B, embed) embeddings; and before the pooling ``{"grid": (B, 32·width, G, G)}``, with
            G = S/32 for the strides of the paper, and ``{"tokens": (B, G², 32·width)}``, the same
            grid read row by row.

        Raises:
            ModelError: when the images have another size than the tower was built for.
        """
        size = self.config.image_size
        if pixels.shape[-2:] != (size, size):
            raise ModelError(
                f"this tower takes {size} px images, not "
                f"{pixels.shape[-2]}×{pixels.shape[-1]}: resize them first"
            )
        x = self.stem(pixels)  # (B, width, S/4, S/4)
        for block in self.blocks:
            x = block(x)
        tokens = rearrange(x, "b c h w -> b (h w) c")
        return self.pool(x), {"grid": x, "tokens": tokens}

    def states(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) after each of the four stages; the images as in :meth:`forward`."""
        last = [self.blocks[sum(self.config.layers[: stage + 1]) - 1] for stage in range(4)]
        return block_states(last, lambda: self(pixels))


def _conv_bn_relu(channels: int, out: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU()]
