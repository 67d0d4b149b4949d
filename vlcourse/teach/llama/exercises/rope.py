"""Rotary positions: which channels are a pair, how far each turns, and in which direction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlcourse.layers.rotary import rotate, rotations
from vlcourse.teach.checking import (
    CUT,
    Exercise,
    Right,
    Wrong,
    call,
    differentiable,
    expect_close,
    same_dtype,
)
from vlcourse.teach.llama.exercises import rope_answers as answers
from vlcourse.teach.mistakes import Mistake, expect_right


def rope(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """The reference: the library's rotations."""
    return rotate(x, rotations(positions, x.shape[-1], theta))


def _check(candidate: Any) -> None:
    cases = (
        ("positions 0 to 4", torch.arange(5), 10_000.0),
        ("positions 3, 9, 1, 7, 20 and theta = 500", torch.tensor([3, 9, 1, 7, 20]), 500.0),
    )
    for what, positions, theta in cases:
        arguments = torch.randn(2, 3, 5, 8), positions, theta
        expect_right(
            partial(_run, arguments),
            candidate,
            rope,
            MISTAKES,
            f"the result at {what}",
            "Pair j is (x₂ⱼ, x₂ⱼ₊₁); at position m it turns by m · theta^(-2j/d_h).",
        )

    for shape in ((5, 8), (1, 1, 5, 8), (2, 5, 8)):
        expect_close(
            call(candidate, x := torch.randn(shape), positions, theta),
            rope(x, positions, theta),
            f"the result for x of shape {shape}",
            "Count axes from the end: x[..., 0::2]; (L, d_h/2) broadcasts over what stands before.",
        )
    x = torch.randn(2, 3, 5, 8)
    differentiable(candidate, rope, x, positions, theta)
    same_dtype(candidate, x, positions, theta, dtypes=(torch.float32,), hint=_FLOAT32)
    # bfloat16 holds 8 bits: position 1,003 would become 1,004. Any type may come out.
    half, far = x.bfloat16(), torch.arange(1001, 1006)
    expect_close(
        candidate(half, far, theta).float(),
        rope(half, far, theta).float(),
        "the result for x in bfloat16 at positions from 1,001 on",
        _COARSE,
        rtol=0.03,
        atol=0.03,
    )


_FLOAT32 = (
    "Angles in float64 make the result float64, too: torch.arange(0, d_h, 2) / d_h is float32."
)
_COARSE = "Leave the angles in float32: in the type of x, positions and angles are rounded."


def _run(arguments: Sequence[Any], function: Any) -> Tensor:
    return call(function, *arguments)


def _angles(positions: Tensor, width: int, theta: float) -> Tensor:
    return positions[:, None] * theta ** (-torch.arange(0, width, 2) / width)


def _turned(x: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    even, odd, cos, sin = x[..., 0::2], x[..., 1::2], angles.cos(), angles.sin()
    return even * cos - odd * sin, even * sin + odd * cos


def _pairs(x: Tensor, angles: Tensor) -> Tensor:
    return torch.stack(_turned(x, angles), dim=-1).flatten(-2)


def _halves(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    angles = _angles(positions, x.shape[-1], theta)
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _not_interleaved(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return torch.cat(_turned(x, _angles(positions, x.shape[-1], theta)), dim=-1)


def _backwards(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _pairs(x, -_angles(positions, x.shape[-1], theta))


def _both_signs_plus(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    angles = _angles(positions, x.shape[-1], theta)
    even, odd, cos, sin = x[..., 0::2], x[..., 1::2], angles.cos(), angles.sin()
    return torch.stack([even * cos + odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def _exponent(x: Tensor, positions: Tensor, theta: float, factor: float) -> Tensor:
    pairs = torch.arange(x.shape[-1] // 2)
    return _pairs(x, positions[:, None] * theta ** (factor * pairs / x.shape[-1]))


def _exponent_halved(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _exponent(x, positions, theta, -1)


def _exponent_doubled(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _exponent(x, positions, theta, -4)


def _exponent_positive(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _exponent(x, positions, theta, 2)


def _one_frequency(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return _exponent(x, positions, theta, 0)


def _from_one(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return rope(x, positions + 1, theta)


def _positions_ignored(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return rope(x, torch.arange(x.shape[-2]), theta)


def _same_everywhere(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return rope(x, torch.ones_like(positions), theta)


def _own_theta(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return rope(x, positions, 10_000.0)


def _not_turned(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return x.clone()


_SIGNS = "(a, b) becomes (a cos - b sin, a sin + b cos): one minus, in the first number."
_EXPONENT = (
    "Pair j = 0, 1, … turns by m · theta^(-2j/d_h): torch.arange(0, d_h, 2) counts 2j already."
)

MISTAKES = (
    Mistake(
        "halves instead of pairs",
        _halves,
        "channel j is paired with channel j + d_h/2, as in the transformers library",
        "Here neighbours are a pair, as in the paper: x[..., 0::2] and x[..., 1::2].",
    ),
    Mistake(
        "not interleaved again",
        _not_interleaved,
        "the turned numbers stand in another order: first all even channels, then all odd ones",
        "Put each pair back in its place: torch.stack([…, …], dim=-1).flatten(-2), not torch.cat.",
    ),
    Mistake("turned backwards", _backwards, "the pairs turn the other way round", _SIGNS),
    Mistake(
        "both signs plus",
        _both_signs_plus,
        "your pairs change their length, and a rotation does not do that",
        _SIGNS,
    ),
    Mistake(
        "exponent -j/d_h",
        _exponent_halved,
        "the exponent is half as large as it should be: the slow pairs turn too fast",
        _EXPONENT,
    ),
    Mistake(
        "exponent -4j/d_h",
        _exponent_doubled,
        "the exponent is twice as large as it should be: the pairs slow down too soon",
        _EXPONENT,
    ),
    Mistake(
        "exponent without minus",
        _exponent_positive,
        "the later pairs turn faster than the first one",
        "The exponent is negative: theta ** (-2j/d_h), so the first pair is the fastest.",
    ),
    Mistake(
        "one frequency",
        _one_frequency,
        "all pairs turn equally fast",
        "Each pair has its own frequency: multiply the position by theta^(-2j/d_h).",
    ),
    Mistake(
        "positions from 1",
        _from_one,
        "everything is turned by one position too far",
        "Use `positions` as they are: what stands at position 0 is not turned."
        " Attention sees only differences and would not notice, but keys that other code has put"
        " into a cache would not fit yours.",
    ),
    Mistake(
        "positions not used",
        _positions_ignored,
        "you count the positions yourself, from 0",
        "Use the argument `positions`: with a cache the first new token is not at position 0.",
    ),
    Mistake(
        "the same turn everywhere",
        _same_everywhere,
        "every position is turned by the same angle, so order leaves no trace",
        "The angle is the position times the frequency: positions[:, None] * frequency.",
    ),
    Mistake(
        "theta not used",
        _own_theta,
        "your theta is always 10,000, whatever the argument says",
        "Use the argument `theta`: longer contexts are trained with a larger one.",
    ),
    Mistake(
        "even channels overwritten",
        answers.even_overwritten,
        "the odd channels are computed from even ones that are turned already",
        "Take a, b = x[..., 0::2], x[..., 1::2] first, and write the results somewhere else.",
    ),
    Mistake(
        "degrees",
        answers.degrees,
        "the angles are turned into degrees",
        "m · theta^(-2j/d_h) is in radians, which cos and sin expect.",
    ),
    Mistake("not turned", _not_turned, "nothing is turned", _SIGNS),
)

EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="llama.rope",
        title="Rotary positions",
        minutes=12,
        difficulty=2,
        reference=rope,
        check=_check,
        hints=(
            "One angle for each position and each pair: an (L, d_h/2) table of cosines and sines.",
            "frequency = theta ** (-torch.arange(0, d_h, 2) / d_h); angles = positions[:, None] *"
            " frequency.",
            "a, b = x[..., 0::2], x[..., 1::2]; then torch.stack([a * cos - b * sin,"
            " a * sin + b * cos], dim=-1).flatten(-2).",
        ),
        wrong=(
            *(mistake.wrong() for mistake in MISTAKES),
            Wrong("x changed in place", answers.in_place, "your code changes `x` in place"),
            Wrong("angles in float64", answers.in_double, _FLOAT32),
            Wrong("angles in the type of x", answers.angles_in_the_type_of_x, _COARSE),
            Wrong("detached", answers.detached, CUT),
            Wrong("four axes only", answers.four_axes_only, "your code stops at"),
        ),
        right=(
            Right("complex numbers", answers.by_complex_numbers),
            Right("loops", answers.by_loops),
            Right("quarter turns", answers.by_quarter_turns),
            Right("written into a copy", answers.into_a_copy),
        ),
    ),
)
