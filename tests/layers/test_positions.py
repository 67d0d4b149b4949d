"""The positions of a grid's cells: told apart, ordered, of a token's size."""

from __future__ import annotations

import pytest
import torch

from vlcourse.layers.errors import ModelError
from vlcourse.layers.positions import sine_grid


@pytest.mark.parametrize("side, width", [(1, 4), (4, 512), (7, 64), (14, 128)])
def test_cells_differ_and_are_ordered(side: int, width: int) -> None:
    places = sine_grid(side, width)
    assert places.shape == (side * side, width)
    assert places.abs().max() <= 1
    assert places.square().mean() == pytest.approx(0.5, abs=1e-5)  # sin² + cos² = 1
    apart = torch.cdist(places, places) + torch.eye(side * side)
    assert apart.min() > 0.1
    slowest = places[:, width // 2].view(side, side)  # cos of the column's slowest wave
    assert (slowest.diff(dim=1) < 0).all() and (slowest.diff(dim=0) == 0).all()


def test_rows_are_the_columns_turned() -> None:
    places = sine_grid(5, 40).view(5, 5, 2, 2, 10)  # row, column, sin or cos, axis, wave
    assert torch.equal(places[:, :, :, 0], places.transpose(0, 1)[:, :, :, 1])


def test_refuses_an_odd_width() -> None:
    with pytest.raises(ModelError, match="multiple of 4, not 6"):
        sine_grid(4, 6)
