"""Where a cell of a grid is, as a vector: sines and cosines of its column and its row."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vlcourse.layers.errors import ModelError


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
