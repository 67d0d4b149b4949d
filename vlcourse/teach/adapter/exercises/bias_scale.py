"""Bias and scale on a frozen linear map: version 2's first idea."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.teach.checking import (
    Exercise,
    Right,
    Wrong,
    call,
    differentiable,
    expect_close,
    same_dtype,
)
from vlcourse.teach.mistakes import Mistake, expect_right


def bias_scale(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
    """The reference: y = s · (W x + b), equations 1 and 2 of version 2.

    Args:
        x: (…, in).
        weight: (out, in), frozen.
        bias, scale: (out,), learned; 0 and 1 at first.

    Returns:
        (…, out).
    """
    return scale * (F.linear(x, weight) + bias)


def _with(slip: str, x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
    square = weight.shape[0] == weight.shape[1]
    if slip == "scale at the input" and square:
        return F.linear(scale * x, weight) + bias
    if slip == "bias at the input" and square:
        return scale * F.linear(x + bias, weight)
    if slip == "transposed" and square:
        return scale * (x @ weight + bias)
    y = F.linear(x, weight)
    if slip == "bias not scaled":
        return scale * y + bias
    if slip == "one plus scale":
        return (1 + scale) * (y + bias)
    if slip == "no bias":
        return scale * y
    if slip == "no scale":
        return y + bias
    return scale * (y + bias)


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, partial(_with, slip), what, hint)


_ORDER = "First W x, then + b, then · s: all three at the output."
_MISTAKES = (
    _mistake(
        "scale at the input",
        "the scale multiplies the input",
        f"{_ORDER} (One of the released codes does it at the input: W (s · x) + b.)",
    ),
    _mistake("bias at the input", "the bias is added to the input", _ORDER),
    _mistake("transposed", "the weight is transposed", "F.linear(x, weight), or x @ weight.T."),
    _mistake("bias not scaled", "the scale does not multiply the bias", "s · (W x + b), not W x."),
    _mistake(
        "one plus scale", "the scale counts from 1", "The scale itself begins at 1: no 1 + s."
    ),
    _mistake("no bias", "the bias is missing", _ORDER),
    _mistake("no scale", "the scale is missing", _ORDER),
)


def _check(candidate: Callable[..., Any]) -> None:
    for out, into, shape in ((5, 5, (2, 3)), (4, 6, (2, 3)), (3, 5, ())):
        arguments = (
            torch.randn(*shape, into), torch.randn(out, into), torch.randn(out), torch.randn(out)
        )  # fmt: skip

        def run(function: Callable[..., Any], given: Any = arguments) -> Tensor:
            return call(function, *given)

        said = f"the result for x of {(*shape, into)}"
        expect_right(run, candidate, bias_scale, _MISTAKES, said, _ORDER)
    x, weight, bias, scale = arguments
    start = candidate(x, weight, torch.zeros(3), torch.ones(3))
    expect_close(start, F.linear(x, weight), "with b = 0 and s = 1 the result", _ORDER)
    differentiable(candidate, bias_scale, x, weight, bias, scale)
    same_dtype(candidate, x, weight, bias, scale, dtypes=(torch.float64,))


def _merged(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
    return F.linear(x, scale[:, None] * weight, scale * bias)


def _transposed(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
    return (x @ weight.T + bias) * scale


def _in_linear(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
    return scale * F.linear(x, weight, bias)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="adapter.bias_scale",
        title="Bias and scale",
        minutes=5,
        difficulty=1,
        reference=bias_scale,
        check=_check,
        hints=(
            "weight is stored as (out, in), as nn.Linear has it.",
            _ORDER,
            "scale * (F.linear(x, weight) + bias).",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("detached", lambda x, w, b, s: bias_scale(x, w, b.detach(), s), ".detach()"),
        ),
        right=(
            Right("merged into one map", _merged),
            Right("by the transposed weight", _transposed),
            Right("the bias inside F.linear", _in_linear),
        ),
    ),
)
