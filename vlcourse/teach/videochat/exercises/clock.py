"""Temporal position: the seconds of frames as sines and cosines."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from einops import rearrange
from torch import Tensor

from vlcourse.layers.positions import Clock
from vlcourse.teach.checking import Exercise, Right, Wrong, batch_of_one, call, expect
from vlcourse.teach.mistakes import Mistake, expect_right

LONGEST = 64.0


def time_waves(seconds: Tensor, waves: int) -> Tensor:
    """The reference: what :class:`vlcourse.layers.positions.Clock` maps linearly.

    Args:
        seconds: (B, T) when each frame was.
        waves: how many, at least 2: their lengths go from 1 to 64 seconds, each the same number of
            times as long as the one before.

    Returns:
        (B, T, 2 · waves): all sines, then all cosines.
    """
    lengths = torch.logspace(0, math.log10(LONGEST), waves)
    angles = 2 * math.pi * seconds[..., None] / lengths  # (B, T, waves)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _with(slip: str, seconds: Tensor, waves: int) -> Tensor:
    """With one mistake or none."""
    lengths = torch.tensor([LONGEST ** (i / (waves - 1)) for i in range(waves)])
    if slip == "even steps":
        lengths = torch.linspace(1, LONGEST, waves)
    if slip == "64 is left out":
        lengths = torch.tensor([LONGEST ** (i / waves) for i in range(waves)])
    if slip == "powers of ten":
        lengths = torch.logspace(1, LONGEST, waves)
    if slip == "longest first":
        lengths = lengths.flip(0)
    if slip == "places":
        seconds = torch.arange(seconds.shape[1]).expand_as(seconds).float()
    angles = seconds[..., None] / lengths
    if slip == "times the length":
        angles = seconds[..., None] * lengths
    if slip != "no whole turn":
        angles = (math.pi if slip == "half a turn" else 2 * math.pi) * angles
    both = [angles.sin(), angles.cos()]
    if slip == "sine by cosine":
        return torch.stack(both, dim=-1).flatten(-2)
    return torch.cat(both[::-1] if slip == "cosines first" else both, dim=-1)


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, partial(_with, slip), what, hint)


_ANGLE = "A wave of length ℓ makes a whole turn in ℓ seconds: the angle is 2π · t / ℓ."
_LENGTHS = "From 1 to 64 by equal factors: torch.logspace(0, math.log10(64), waves)."
_MISTAKES = (
    _mistake("no whole turn", "the 2π is missing", _ANGLE),
    _mistake("half a turn", "a wave makes half a turn in its length", _ANGLE),
    _mistake("times the length", "the seconds are multiplied by the length", _ANGLE),
    _mistake("even steps", "the lengths grow by equal steps, not by equal factors", _LENGTHS),
    _mistake("64 is left out", "the longest wave is shorter than 64 s", _LENGTHS),
    _mistake(
        "powers of ten",
        "the ends of logspace are taken for lengths",
        f"logspace wants exponents of ten. {_LENGTHS}",
    ),
    _mistake("longest first", "the longest wave comes first", "From the shortest to the longest."),
    _mistake(
        "places",
        "frames are told their number, not their second",
        "Two frames may be 0.5 s apart or 5 s: use the seconds themselves.",
    ),
    _mistake("sine by cosine", "sines and cosines alternate", "All sines, then all cosines: cat."),
    _mistake("cosines first", "the cosines come first", "All sines, then all cosines: cat."),
)


def _check(candidate: Callable[..., Tensor]) -> None:
    hint = "(B, T, 2 · waves): the sines and the cosines side by side on the last axis."
    for seconds, waves in (
        (torch.tensor([[0.4, 1.2, 2.0], [0.5, 3.5, 9.25]]), 5),
        (torch.tensor([[0.0, 0.1, 9.7, 12.3]]), 16),
        (torch.tensor([[3.0], [7.5]]), 2),
    ):
        expect_right(
            lambda f, given=(seconds, waves): call(f, *given),  # type: ignore[misc]
            candidate, time_waves, _MISTAKES, "the waves", hint,
        )  # fmt: skip
    found = candidate(torch.tensor([[0.4, 1.2]]), 3).dtype
    exact = "float32, as the linear map after it: no double() at the end."
    expect(found == torch.float32, f"the waves are {str(found).removeprefix('torch.')}", exact)
    batch_of_one(candidate, time_waves, torch.tensor([[0.4, 1.2], [3.3, 8.1]]), 3)


def _by_frequency(seconds: Tensor, waves: int) -> Tensor:
    steps = torch.arange(waves, dtype=torch.float64) / (waves - 1)
    angles = seconds.double().unsqueeze(-1) * (2 * math.pi * LONGEST**-steps)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1).float()


def _by_numbers(seconds: Tensor, waves: int) -> Tensor:
    turns = [seconds / LONGEST ** (i / (waves - 1)) for i in range(waves)]
    found = [torch.sin(2 * math.pi * t) for t in turns] + [
        torch.cos(2 * math.pi * t) for t in turns
    ]
    return torch.stack(found, dim=-1)


def _by_circle(seconds: Tensor, waves: int) -> Tensor:
    lengths = torch.logspace(0, math.log10(LONGEST), waves)
    turned = torch.polar(torch.ones(()), 2 * math.pi * seconds[..., None] / lengths)
    return rearrange([turned.imag, turned.real], "part b t w -> b t (part w)")


def _by_library(seconds: Tensor, waves: int) -> Tensor:
    return _unmapped(Clock(4), seconds) if waves == 16 else time_waves(seconds, waves)


def _unmapped(clock: Clock, seconds: Tensor) -> Tensor:
    clock.out = torch.nn.Identity()  # type: ignore[assignment]
    return clock(seconds)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="videochat.time_waves",
        title="A place in time",
        minutes=8,
        difficulty=2,
        reference=time_waves,
        check=_check,
        hints=(
            "First the lengths of the waves, then an angle for each frame and wave, then sin, cos.",
            "lengths = torch.logspace(0, math.log10(64), waves); seconds[..., None] / lengths has "
            "a last axis of waves.",
            "angles = 2 * math.pi * seconds[..., None] / lengths; "
            "torch.cat([angles.sin(), angles.cos()], dim=-1).",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("sines alone", lambda s, w: time_waves(s, w)[..., :w], "side by side"),
            Wrong("in double precision", lambda s, w: time_waves(s, w).double(), "no double()"),
            Wrong("summed up", lambda s, w: time_waves(s, w).sum(dim=1), "side by side"),
        ),
        right=(
            Right("by powers", partial(_with, "")),
            Right("by frequencies", _by_frequency),
            Right("wave by wave", _by_numbers),
            Right("on the circle", _by_circle),
            Right("the library's own", _by_library),
        ),
    ),
)
