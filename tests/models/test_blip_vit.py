"""BLIP's image tower: its tokens, and pictures of other sizes."""

from __future__ import annotations

import pytest
import torch

from vlcourse.layers.errors import ModelError
from vlcourse.models.blip_vit import BLIPViT, BLIPViTConfig, resize_grid

SMALL = BLIPViTConfig(image_size=24, patch_size=8, width=12, layers=2, heads=3)


def vit() -> BLIPViT:
    torch.manual_seed(0)
    return BLIPViT(SMALL).eval()


def test_the_tokens_are_normed_and_the_first_is_the_feature() -> None:
    tower = vit()
    feature, seen = tower(torch.randn(2, 3, 24, 24))
    tokens = seen["tokens"]
    assert tokens.shape == (2, 10, 12) and torch.equal(feature, tokens[:, 0])
    torch.testing.assert_close(tokens.mean(dim=-1), torch.zeros(2, 10), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        tokens.var(dim=-1, unbiased=False), torch.ones(2, 10), atol=1e-2, rtol=0
    )
    assert len(tower.states(torch.randn(2, 3, 24, 24))) == 2


def test_the_published_towers_have_the_published_sizes() -> None:
    for config, millions in (
        (BLIPViTConfig(), 85.8),
        (BLIPViTConfig(width=1024, layers=24, heads=16), 303.3),
    ):
        with torch.device("meta"):
            count = sum(p.numel() for p in BLIPViT(config).parameters())
        assert round(count / 1e6, 1) == millions


def test_positions_are_interpolated_to_other_sizes_square_or_not() -> None:
    tower = vit()
    ramp = torch.arange(3.0)  # what grows from column to column
    tower.positions.data[1:] = ramp.repeat(3)[:, None]
    wide = tower.at_resolution(24, 48)
    assert wide(torch.randn(2, 3, 24, 48))[1]["tokens"].shape == (2, 19, 12)
    cells = wide.positions[1:].view(3, 6, 12)
    assert torch.equal(wide.positions[0], tower.positions[0])
    assert cells.std(dim=0).max() < 1e-5  # equal in all rows
    assert (cells[0, 1:, 0] > cells[0, :-1, 0]).all()  # and growing along them
    assert tower.size == (24, 24)  # the original is as it was
    with pytest.raises(ModelError, match=r"24×24 px, not 24×48"):
        tower(torch.randn(2, 3, 24, 48))
    back = tower.at_resolution(24)
    assert torch.equal(back.positions, tower.positions) and back.positions is not tower.positions
    assert tower.at_resolution(32).config.image_size == 32
    with pytest.raises(ModelError, match="no grid of patches of 8 px"):
        tower.at_resolution(30)


def test_interpolation_is_bicubic_without_antialiasing() -> None:
    positions = torch.randn(1 + 6 * 6, 4)
    smaller = resize_grid(positions, (6, 6), (3, 3))
    # At half the size a new cell lies between two old ones: -3/32, 19/32, 19/32, -3/32.
    grid = positions[1:].view(6, 6, 4)
    weights = torch.tensor([-3, 19, 19, -3]) / 32
    middle = torch.einsum("i,j,ijd->d", weights, weights, grid[1:5, 1:5])
    torch.testing.assert_close(smaller[1 + 4], middle)
