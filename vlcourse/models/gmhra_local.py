"""What tokens of frames learn of their neighbours in space and time: the local parts of GMHRA.

Li et al. 2022, "UniFormerV2", section 3; and "UniFormer", section 3.2.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vlcourse.layers.errors import ModelError

Tube = Literal["time", "space-time"]


class Depthwise3d(nn.Conv3d):
    """A depthwise 3 × 3 × 3 convolution over time, rows and columns; beyond the edges are zeros.

    It is computed as the sum of three convolutions of frames: of those before, those themselves,
    those after. (The gradient of one convolution in three dimensions takes three times as long on a
    CPU.)
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width, kernel_size=3, padding=1, groups=width)

    def forward(self, cube: Tensor) -> Tensor:
        """(B, T, H, W, C) → the same shape: channels stand last, unlike in torch's own."""
        count, y = cube.shape[1], cube.new_zeros(())
        padded = F.pad(cube, (0, 0, 0, 0, 0, 0, 1, 1))  # (B, 1 + T + 1, H, W, C)
        for k in range(3):
            frames = rearrange(padded[:, k : k + count], "b t h w c -> (b t) c h w")
            weight, bias = self.weight[:, :, k], self.bias if k == 1 else None
            y = y + F.conv2d(frames, weight, bias, padding=1, groups=self.groups)
        return rearrange(y, "(b t) c h w -> b t h w c", t=count)


def as_grid(places: Tensor) -> Tensor:
    """(B, T, N, C) → (B, T, H, W, C); ModelError unless N is a square."""
    side = round(places.shape[2] ** 0.5)
    if side * side != places.shape[2]:
        raise ModelError(f"{places.shape[2]} tokens are no square grid")
    return places.unflatten(2, (side, side))


class LocalMHRA(nn.Module):
    """What each token learns of the same place in the frames before and after (section 3.2).

    BatchNorm, a narrow linear map, a depthwise convolution over three frames (and the places
    around, for a tube in space-time), and a wide linear map that is zero at the start.
    """

    def __init__(self, width: int, reduction: float = 2.0, tube: Tube = "time") -> None:
        super().__init__()
        narrow = max(1, int(width // reduction))
        self.norm = nn.BatchNorm1d(width)
        self.down = nn.Linear(width, narrow)
        self.mix = (
            nn.Conv1d(narrow, narrow, kernel_size=3, padding=1, groups=narrow)
            if tube == "time"
            else Depthwise3d(narrow)
        )
        self.up = nn.Linear(narrow, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, shown: Tensor) -> Tensor:
        """(B, T, N, C) tokens of places, (B, T) bool → (B, T, N, C), to be added."""
        batch, _, places, _ = x.shape
        y = x.new_zeros(*x.shape[:-1], self.down.out_features)  # (B, T, N, narrow)
        kept = self.norm(x[shown].flatten(0, 1)).unflatten(0, (-1, places))  # (frames, N, C)
        y[shown] = self.down(kept).to(y.dtype)  # a frame that is not there is as none
        if isinstance(self.mix, Depthwise3d):
            return self.up(self.mix(as_grid(y)).flatten(2, 3))
        y = self.mix(rearrange(y, "b t n d -> (b n) d t"))
        return self.up(rearrange(y, "(b n) d t -> b t n d", b=batch, n=places))


class DynamicPositions(nn.Module):
    """Where and when a token is, told by its neighbours: a depthwise 3 × 3 × 3 convolution.

    Beyond the edges there are zeros, and they tell where an edge is (section 3.3).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Depthwise3d(width)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, y: Tensor, classes: int, shown: Tensor) -> Tensor:
        """(B, T, N, C) tokens, the first ``classes`` of each frame without a place; (B, T) bool →
        the same with positions added to the places."""
        first, places = y[:, :, :classes], y[:, :, classes:]
        moved = self.conv(as_grid(places * shown[:, :, None, None]))
        return torch.cat([first, places + moved.flatten(2, 3)], dim=2)
