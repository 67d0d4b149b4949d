"""What the checks of the exercises are written with: each helper says in words what is wrong.

A lecture declares its ``EXERCISES`` in ``vlcourse/teach/<lecture>/exercises/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Wrong:
    """A typical wrong answer; ``hint`` must be part of the line it is refused with."""

    name: str
    function: Any
    hint: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. ``check(candidate)`` raises `CheckFailed`; ``hints`` go from vague to plain."""

    id: str
    title: str
    minutes: int
    difficulty: int  # 1 easy, 2 needs thought, 3 hard
    reference: Any
    check: Callable[[Any], None]
    hints: tuple[str, ...]
    wrong: tuple[Wrong, ...] = ()


class CheckFailed(Exception):
    """A check refused an answer: ``what`` is wrong, and a ``hint`` made for this very mistake."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class NotAttempted(Exception):
    """The answer is still the blank."""


def fail(what: str, hint: str = "") -> None:
    """Refuse the answer. ``what``: a clause that says what is wrong; ``hint``: what to look at."""
    raise CheckFailed(what, hint)


def expect(condition: bool, what: str, hint: str = "") -> None:
    """Refuse the answer unless ``condition`` holds."""
    if not condition:
        fail(what, hint)


def expect_equal(value: Any, reference: Any, what: str = "the result", hint: str = "") -> None:
    """Refuse a plain Python ``value`` (number, string, tuple, set) that is not ``reference``."""
    _not_blank(value)
    if isinstance(reference, bool) and not isinstance(value, bool):
        fail(f"{what} should be True or False, it is {_describe(value)}", hint)
    if value != reference:
        fail(f"{what} should be {reference!r}, it is {_describe(value)}", hint)


def expect_shape(
    value: Any, shape: Sequence[int], what: str = "the result", hint: str = ""
) -> None:
    """Refuse a ``value`` that is not a tensor of ``shape``, and say what kind of mismatch it is."""
    _not_blank(value)
    if not isinstance(value, torch.Tensor):
        fail(
            f"{what} should be a tensor of shape {_shape(shape)}, it is {_describe(value)}",
            hint,
        )
    if tuple(value.shape) != tuple(shape):
        fail(_mismatch(tuple(value.shape), tuple(shape), what), hint)


def expect_close(
    value: Any,
    reference: Any,
    what: str = "the result",
    hint: str = "",
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """Refuse a ``value`` that differs from ``reference`` (a tensor of any shape, or a number).

    Shape comes first, then NaN and infinity, then the largest difference and where it is.
    """
    _not_blank(value)
    wanted = torch.as_tensor(reference).detach()
    if not isinstance(value, torch.Tensor):
        if wanted.ndim or not isinstance(value, (int, float)):
            expect_shape(value, wanted.shape, what, hint)
        value = torch.as_tensor(value)
    expect_shape(value, wanted.shape, what, hint)
    got, wanted = value.detach().double().cpu(), wanted.double().cpu()
    bad = ~torch.isfinite(got) & torch.isfinite(wanted)
    if bad.any():
        fail(f"{what} holds {int(bad.sum())} values that are NaN or infinite", hint)
    same = torch.isclose(got, wanted, rtol=rtol, atol=atol, equal_nan=True)
    if same.all():
        return
    if not wanted.ndim:
        fail(f"{what} should be {wanted.item():.4g}, it is {got.item():.4g}", hint)
    at = [int(i) for i in torch.nonzero(~same)[0]]
    fail(
        f"{what} has the right shape {_shape(wanted.shape)} but {int((~same).sum())} of"
        f" {same.numel()} values are wrong: at {at} it should be {wanted[tuple(at)].item():.4g},"
        f" it is {got[tuple(at)].item():.4g}",
        hint,
    )


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, refusing an answer that changes a tensor argument in place."""
    named = [(f"argument {i + 1}", a) for i, a in enumerate(args)] + list(kwargs.items())
    before = [(n, a, a.detach().clone()) for n, a in named if isinstance(a, torch.Tensor)]
    result = function(*args, **kwargs)
    for name, argument, copy in before:
        if argument.shape != copy.shape or not torch.equal(argument.detach(), copy):
            fail(
                f"your code changes {name} in place",
                "Work on a new tensor: the caller still needs the one it gave you.",
            )
    return result


def _not_blank(value: Any) -> None:
    if value is None or value is Ellipsis:
        raise NotAttempted


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {_shape(value.shape)}"
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (tuple, list, set, frozenset, dict)):
        text = repr(value)
        return text if len(text) <= 60 else f"a {type(value).__name__} of {len(value)} entries"
    article = "an" if type(value).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(value).__name__}"


def _shape(shape: Sequence[int]) -> str:
    return str(tuple(shape))


def _mismatch(got: tuple[int, ...], wanted: tuple[int, ...], what: str) -> str:
    text = f"{what} should have shape {_shape(wanted)}, it has {_shape(got)}"
    if not wanted:
        return text + ": one number is wanted, was the mean or the sum forgotten?"
    if len(got) == len(wanted) and sorted(got) == sorted(wanted):
        return text + ": the axes are in another order"
    if [n for n in got if n != 1] == [n for n in wanted if n != 1]:
        return text + ": an axis of length 1 is too many, missing or in another place"
    if len(got) != len(wanted):
        return text + f": {len(got)} axes instead of {len(wanted)}"
    axes = [i for i, (a, b) in enumerate(zip(got, wanted, strict=True)) if a != b]
    return text + (f": axis {axes[0]} differs" if len(axes) == 1 else f": axes {axes} differ")
