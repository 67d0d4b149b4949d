"""Where a cell of a grid is, and when a frame was, as vectors of sines and cosines."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vlcourse.layers.errors import ModelError

WAVES = 16  # of a clock


def sine_grid(side: int, width: int) -> Tensor:
    """Vaswani et al. 2017, section 3.5, for a square grid: half of the channels tell the column.

    The slowest wave takes two grids for a turn, so that it grows or falls all the way from one edge
    to the other; the fastest changes its sign from cell to cell. Each channel lies in [-1, 1],
    about as large as those of a normalised token: attention finds a place as soon as a thing.

    Returns:
        (side², width), row by row.

    Raises:
        ModelError: when the width is no multiple of 4.
    """
    if width % 4:
        raise ModelError(f"a grid's sines need a width that is a multiple of 4, not {width}")
    waves = torch.logspace(math.log10(math.pi / side), math.log10(math.pi), width // 4)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = torch.cat([at.reshape(-1, 1) * waves for at in (column, row)], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Clock(nn.Module):
    """Times as vectors: sines and cosines of 16 waves, and a linear map of them.

    The waves are from 1 to 64 long, in the times' unit. A vector's channels are about as large as
    those of a normalised token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(2 * WAVES, width, bias=False)
        nn.init.normal_(self.out.weight, std=WAVES**-0.5)

    def forward(self, times: Tensor) -> Tensor:
        """(B, T) → (B, T, C)."""
        waves = torch.logspace(0, math.log10(64), WAVES, device=times.device)
        angles = times.float()[..., None] * (2 * math.pi / waves)  # (B, T, W)
        return self.out(torch.cat([angles.sin(), angles.cos()], dim=-1))
