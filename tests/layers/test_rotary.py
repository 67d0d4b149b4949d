"""Rotations for texts longer than those a model was trained on."""

from __future__ import annotations

import math

import torch

from vlcourse.layers.rotary import rotations, slowed


def test_linear_scaling_is_the_same_as_nearer_positions() -> None:
    positions = torch.arange(12)
    long = rotations(positions * 4, 8, theta=100.0, factor=4.0)
    torch.testing.assert_close(long, rotations(positions, 8, theta=100.0))


def test_a_factor_of_one_changes_no_bit() -> None:
    plain = rotations(torch.arange(50), 16, 500.0)
    assert torch.equal(rotations(torch.arange(50), 16, 500.0, 1.0, 10, 1.0, 4.0), plain)


def test_fast_pairs_stay_and_slow_pairs_are_slowed() -> None:
    """4 turns within the old context: as before; 1 turn: 8 times slower; 2.5 turns: in between."""
    turns = 2 * math.pi / 100 * torch.tensor([9.0, 4.0, 2.5, 1.0, 0.1])
    expected = turns * torch.tensor([1.0, 1.0, (1 + 1 / 8) / 2, 1 / 8, 1 / 8])
    torch.testing.assert_close(slowed(turns, 8.0, 100, 1.0, 4.0), expected)
    assert torch.equal(slowed(turns, 8.0, 0, 1.0, 4.0), turns / 8)  # without a context: all


def test_llama_3_1s_own_numbers() -> None:
    """128 channels, base 500,000, factor 8 over 8,192: wavelengths up to 2,048 positions, which
    are the first 29 pairs', stay; those beyond 8,192, the last 29's, are 8 times as long."""
    pairs = torch.arange(0, 128, 2, dtype=torch.float32)
    turns = 500_000.0 ** (-pairs / 128)
    length = 2 * math.pi / turns
    new = slowed(turns, 8.0, 8192, 1.0, 4.0)
    assert int((length < 2048).sum()) == int((length > 8192).sum()) == 29
    assert torch.equal(new[length < 2048], turns[length < 2048])
    assert torch.equal(new[length > 8192], turns[length > 8192] / 8)
    between = (length >= 2048) & (length <= 8192)
    assert between.any() and (new[between] < turns[between]).all()
    assert (new[:-1] > new[1:]).all()  # still in order
