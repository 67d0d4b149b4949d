"""RMSNorm, in the precision and the order in which LLaMA's weights were trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlcourse.layers import block
from vlcourse.teach import checking
from vlcourse.teach.checking import (
    Exercise,
    Right,
    Wrong,
    call,
    expect,
    expect_close,
    fail,
)
from vlcourse.teach.llama.exercises import norm_answers as answers
from vlcourse.teach.mistakes import Mistake, expect_right


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The reference: the library's own function."""
    return block.rms_norm(x, weight, eps)


_BEFORE_THE_CAST = "LLaMA casts first and multiplies then: `(…).type_as(x) * weight`."
_FLOAT32 = "Begin with x.float(): bfloat16 keeps 2 to 3 digits, and in float16 300² is infinite."


_AXIS = "The last axis is dim=-1, however many axes stand before it; keepdim=True keeps it."


def _check(candidate: Any) -> None:
    weight = 0.5 + torch.rand(8)
    cases = (
        ("ordinary numbers", 3 * torch.randn(2, 3, 8) + 1, weight, 1e-6),
        ("small numbers", 0.01 * torch.randn(2, 3, 8), weight, 1e-3),
    )
    for what, *arguments in cases:
        expect_right(
            partial(_run, arguments),
            candidate,
            rms_norm,
            MISTAKES,
            f"the norm of {what}",
            "Divide by the root of (the mean of the squares + eps), then multiply by the weight.",
        )
    x, five = torch.randn(3, 5), 0.5 + torch.rand(5)
    out, right = call(candidate, x, five, 1e-6), rms_norm(x, five, 1e-6)
    expect_close(out, right, "the norm of vectors of 5 channels", "The width is x.shape[-1].")
    for shape in ((5, 8), (8, 8), (8,), (2, 4, 3, 8)):
        x = torch.randn(shape)
        out, right = call(candidate, x, weight, 1e-6), rms_norm(x, weight, 1e-6)
        expect_close(out, right, f"the norm of x of shape {shape}", _AXIS)
    x = torch.randn(4, 3, 8)
    checking.batch_of_one(candidate, rms_norm, x, weight, 1e-6, what="the norm")
    zeros = torch.zeros(1, 8)
    expect_close(call(candidate, zeros, weight, 1e-6), zeros, "the norm of a vector of zeros")
    checking.differentiable(candidate, rms_norm, x, weight, 1e-6, what="the norm")
    _check_half(candidate)
    hint = "Cast back to the type of x before the weight comes: `.type_as(x)`."
    checking.same_dtype(candidate, x, weight, 1e-6, what="the norm", hint=hint)
    x = torch.tensor([[300.0, 1.0, -1.0, 2.0]]).half()  # the vector of the next cell
    out, right = call(candidate, x, torch.ones(4).half(), 1e-6), rms_norm(x, torch.ones(4), 1e-6)
    expect_close(out, right, "the norm of a large vector in float16", _FLOAT32, rtol=2e-3)


def _run(arguments: Sequence[Any], function: Any) -> Tensor:
    return call(function, *arguments)


def _check_half(candidate: Any) -> None:
    x, weight = (4 * torch.randn(16, 64)).bfloat16(), (0.5 + torch.rand(64)).bfloat16()
    out, right = call(candidate, x, weight, 1e-6), rms_norm(x, weight, 1e-6)
    expect(
        out.dtype == x.dtype,
        f"x is {_name(x)} and your result is {_name(out)}",
        "Cast back to the type of x before the weight comes: `.type_as(x)`.",
    )
    if _equal(out, right) > 0.99:  # the order of float32 operations may turn a rounding
        return
    if _equal(out, answers.weight_before_the_cast(x, weight, 1e-6)) > 0.99:
        fail("in bfloat16 the weight is multiplied before the cast", _BEFORE_THE_CAST)
    percent = round(100 * (1 - _equal(out, right)))
    fail(f"in bfloat16 {percent} % of the values are off: a step is not done in float32", _FLOAT32)


def _equal(a: Tensor, b: Tensor) -> float:
    return (a == b).float().mean().item()


def _name(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


MISTAKES = (
    Mistake(
        "subtracts the mean",
        answers.layer_norm,
        "the mean is subtracted, as in LayerNorm",
        "RMSNorm leaves the mean in: only the root of the mean square divides.",
    ),
    Mistake(
        "divides by the standard deviation",
        answers.divided_by_the_variance,
        "you divide by the standard deviation, which leaves the mean out",
        "Take the mean of the squares themselves, x.pow(2).mean(…), not the variance.",
    ),
    Mistake(
        "sum instead of mean",
        answers.no_mean,
        "you divide by the length of the vector, so wide vectors come out small",
        "Root *mean* square: .mean(-1, keepdim=True), not a sum, a norm or F.normalize.",
    ),
    Mistake(
        "mean before the square",
        answers.squared_mean,
        "you square the mean, in which + and - cancel",
        "Square first, then the mean: x.pow(2).mean(-1, keepdim=True).",
    ),
    Mistake(
        "mean of absolute values",
        answers.mean_of_absolutes,
        "you divide by the mean of the absolute values",
        "The root of the mean of the squares: a large channel counts for more.",
    ),
    Mistake(
        "multiplied by the root",
        answers.multiplied_by_the_root,
        "you multiply by the root",
        "Divide by it, or multiply by torch.rsqrt(…), which is 1 / root.",
    ),
    Mistake(
        "over everything",
        answers.over_everything,
        "one mean is taken over all the vectors together",
        "Each vector has a root of its own: .mean(-1, keepdim=True), not .mean().",
    ),
    Mistake(
        "divided by the weight",
        answers.divided_by_the_weight,
        "you divide by the weight",
        "Multiply by it, channel by channel.",
    ),
    Mistake(
        "1 + weight",
        answers.one_plus_the_weight,
        "you multiply by 1 + weight, as Gemma does",
        "LLaMA's weight begins at 1, not at 0: multiply by it as it is.",
    ),
    Mistake(
        "eps subtracted",
        answers.eps_subtracted,
        "eps is subtracted",
        "Add it: the root must never be of 0 or less.",
    ),
    Mistake(
        "eps added to x",
        answers.eps_in_the_square,
        "eps is added to x before the square",
        "Add eps to the mean square, under the root.",
    ),
    Mistake(
        "no root",
        answers.no_root,
        "you divide by the mean square without its root",
        "Multiply by torch.rsqrt(mean square + eps), or divide by its .sqrt().",
    ),
    Mistake(
        "over the positions",
        answers.over_positions,
        "the mean runs over the positions",
        "Each vector is normalised alone, over its channels: the last axis.",
    ),
    Mistake(
        "weight forgotten",
        answers.no_weight,
        "the weight is not used",
        "At the end each channel is multiplied by its own learned weight.",
    ),
    Mistake(
        "eps outside of the root",
        answers.eps_outside,
        "eps is added outside of the root",
        "Add eps to the mean square, under the root.",
    ),
    Mistake(
        "no eps",
        answers.no_eps,
        "eps is not used: a vector of zeros would become NaN",
        "Add the argument eps to the mean square.",
    ),
    Mistake(
        "eps of its own",
        answers.own_eps,
        "your eps is always 1e-6, whatever the argument says",
        "Add the argument eps: 65B has another one than 7B.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="llama.rms_norm",
        title="RMSNorm, in the right precision",
        minutes=8,
        difficulty=1,
        reference=rms_norm,
        check=_check,
        hints=(
            "In order: to float32, mean of the squares, plus eps, root, divide, cast back, weight.",
            "x.float().pow(2).mean(-1, keepdim=True) keeps the axis, so that it broadcasts.",
            "wide = x.float(); return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True)"
            " + eps)).type_as(x) * weight",
        ),
        wrong=(
            *(mistake.wrong() for mistake in MISTAKES),
            Wrong("computed in half precision", answers.in_half_precision, _FLOAT32),
            Wrong("only the mean square in float32", answers.root_in_half_precision, _FLOAT32),
            Wrong("weight before the cast", answers.weight_before_the_cast, _BEFORE_THE_CAST),
            Wrong("not cast back", answers.not_cast_back, "Cast back to the type of x"),
            Wrong("always float32", answers.to_float32, "Cast back to the type of x"),
            Wrong("in double, not cast back", answers.double_not_cast_back, "Cast back"),
            Wrong("the axis lost", answers.axis_lost, "do not broadcast"),
            Wrong("length 1", answers.to_length_one, "a norm or F.normalize"),
            Wrong("axis 2", answers.axis_two, "axis 2 does not exist"),
            Wrong("axis 1", answers.axis_one, "the last axis"),
            Wrong("three axes unpacked", answers.three_axes, "not enough values to unpack"),
            Wrong("eight channels", answers.eight_channels, "x.shape[-1]"),
            Wrong("the root as a number", answers.a_root_as_numbers, "detach()"),
            Wrong("under no_grad", answers.under_no_grad, "no gradient flows back"),
            Wrong("the weight detached", answers.weight_detached, "no gradient reaches `weight`"),
            Wrong("the root detached", answers.root_detached, "the gradient at `x`"),
            Wrong("squeezed", answers.squeezed, ".squeeze()"),
            Wrong("in place", answers.in_place, "changes `x` in place"),
        ),
        right=(
            Right("F.rms_norm", answers.by_torch),
            Right("powers in double precision", answers.in_double),
            Right("the length over √d", answers.by_length),
            Right("a product with itself", answers.by_a_product),
            Right("one vector at a time", answers.by_a_loop),
        ),
    ),
)
