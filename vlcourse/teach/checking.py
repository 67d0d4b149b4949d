"""What the checks of the exercises are written with: each helper says in words what is wrong.

A lecture declares its ``EXERCISES`` in ``vlcourse/teach/<lecture>/exercises/``.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CUT = (
    "Return the tensor that you computed: nothing is learned through .detach(), .data, .item(),"
    " float(), torch.tensor() or no_grad()."
)
"""The hint where no gradient flows."""


@dataclass(frozen=True)
class Wrong:
    """A typical wrong answer; ``hint`` must be part of the line it is refused with."""

    name: str
    function: Any
    hint: str


@dataclass(frozen=True)
class Right:
    """An answer that is right though it is not the reference: no cell after it may fail with it."""

    name: str
    function: Any


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
    right: tuple[Right, ...] = ()


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
    if not isinstance(value, Tensor):
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
    if not isinstance(value, Tensor):
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
    """``function(*args, **kwargs)``, refusing an answer that changes an argument in place."""
    names = _names(function, len(args))
    named = [*zip(names, args, strict=True), *((f"`{n}`", a) for n, a in kwargs.items())]
    before = [(n, a, _copy(a)) for n, a in named if isinstance(a, (Tensor, list, dict, set))]
    result = function(*args, **kwargs)
    for name, argument, was in before:
        if not _is_as_before(argument, was):
            new = "a new tensor"
            if not isinstance(argument, Tensor):
                new = f"a copy, {type(argument).__name__}({name.strip('`')})"
            fail(
                f"your code changes {name} in place",
                f"Work on {new}: the caller still needs what it gave you.",
            )
    return result


def differentiable(
    candidate: Callable[..., Any],
    reference: Callable[..., Any],
    *args: Any,
    what: str = "the result",
    hint: str = "",
) -> None:
    """Refuse an answer whose gradient at a floating-point argument is not the reference's."""
    mine, right = _with_gradient(args), _with_gradient(args)
    value = candidate(*mine)
    _not_blank(value)
    if not isinstance(value, Tensor) or not value.requires_grad:
        fail(f"no gradient flows back through {what}", hint or CUT)
    wanted = reference(*right)
    weights = torch.linspace(0.5, 1.5, wanted.numel()).view(wanted.shape).to(wanted)
    leaves = [(i, a) for i, a in enumerate(mine) if isinstance(a, Tensor) and a.requires_grad]
    got = torch.autograd.grad((value * weights).sum(), [a for _, a in leaves], allow_unused=True)
    true = torch.autograd.grad((wanted * weights).sum(), [right[i] for i, _ in leaves])
    names = _names(reference, len(args))
    for (i, _), found, wanted_ in zip(leaves, got, true, strict=True):
        if found is None:
            fail(f"no gradient reaches {names[i]}", hint or CUT)
        said = f"the gradient at {names[i]}"
        expect_close(found, wanted_, said, hint or CUT, rtol=1e-3, atol=1e-4)


def stable(
    candidate: Callable[..., Any],
    reference: Callable[..., Any],
    *args: Any,
    times: float = 100.0,
    what: str = "the result",
    hint: str = "",
) -> None:
    """Refuse an answer that overflows, or goes wrong, for floats ``times`` as large."""
    large = [a * times if _is_float(a) else a for a in args]
    overflow = "exp of a large number is infinite: subtract the largest first, as softmax does."
    said = f"{what}, for numbers {times:g} times as large,"
    expect_close(call(candidate, *large), reference(*large), said, hint or overflow)


def same_dtype(
    candidate: Callable[..., Any],
    *args: Any,
    dtypes: Sequence[torch.dtype] = (torch.bfloat16, torch.float16, torch.float64),
    what: str = "the result",
    hint: str = "",
) -> None:
    """Refuse an answer that fails for another type of numbers, or returns another than it got."""
    for dtype in dtypes:
        name = str(dtype).removeprefix("torch.")
        value = candidate(*[a.to(dtype) if _is_float(a) else a for a in args])
        _not_blank(value)
        if value.dtype != dtype:
            got = str(value.dtype).removeprefix("torch.")
            fail(f"{what} is {got} for arguments in {name}", hint or "Return the type you got.")


def batch_of_one(
    candidate: Callable[..., Any],
    reference: Callable[..., Any],
    *args: Any,
    what: str = "the result",
    hint: str = "",
) -> None:
    """Refuse an answer that is wrong for the first row alone: ``args`` hold several along axis 0.

    Tensors of as many rows as the first tensor are cut to one row; the rest stays.
    """
    rows = next(len(a) for a in args if isinstance(a, Tensor))
    one = [a[:1] if isinstance(a, Tensor) and a.ndim and len(a) == rows else a for a in args]
    squeezed = "An axis of length 1 stays an axis: no .squeeze() without saying which."
    said = f"{what}, for a batch of one,"
    expect_close(call(candidate, *one), reference(*one), said, hint or squeezed)


def _names(function: Callable[..., Any], count: int) -> list[str]:
    """What the parameters are called, `x` say; "argument 1" where the function does not say."""
    known = [f"`{name}`" for name in inspect.signature(function).parameters][:count]
    return [*known, *(f"argument {i + 1}" for i in range(len(known), count))]


def _with_gradient(args: Sequence[Any]) -> list[Any]:
    return [a.detach().clone().requires_grad_() if _is_float(a) else a for a in args]


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.copy(value)


def _is_as_before(value: Any, was: Any) -> bool:
    if isinstance(value, Tensor):
        return value.shape == was.shape and torch.equal(value.detach(), was)
    if isinstance(value, set):
        return value == was
    now, then = (
        list(v.items()) if isinstance(v, dict) else list(enumerate(v)) for v in (value, was)
    )
    return len(now) == len(then) and all(
        a == b and x is y for (a, x), (b, y) in zip(now, then, strict=True)
    )


def _not_blank(value: Any) -> None:
    if value is None or value is Ellipsis:
        raise NotAttempted


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
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
