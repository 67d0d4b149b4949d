"""Typical mistakes as code: an answer that gives what one of them gives is told so in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlcourse.teach.checking import Wrong, expect_close, expect_shape, fail


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, ``what`` is wrong with it, and the ``hint`` that mends it."""

    name: str
    function: Callable[..., Any]
    what: str
    hint: str

    def wrong(self) -> Wrong:
        """The same as an entry of an exercise's list of wrong answers."""
        return Wrong(self.name, self.function, self.hint)


def expect_right(
    run: Callable[[Callable[..., Any]], Any],
    candidate: Callable[..., Any],
    reference: Callable[..., Any],
    mistakes: Sequence[Mistake],
    what: str,
    hint: str = "",
) -> None:
    """Refuse an answer that is not the reference's, by the mistake it shows if that is known.

    Args:
        run: puts one case to a function and returns its answer, a tensor.
        candidate, reference: the student's function, and the right one.
        mistakes: compared in this order.
        what, hint: as in `expect_close`, for an answer that no mistake explains.
    """
    value, right = run(candidate), run(reference)
    expect_shape(value, right.shape, what, hint)
    if not same(value, right):
        for mistake in mistakes:
            if same(value, run(mistake.function)):
                fail(mistake.what, mistake.hint)
    expect_close(value, right, what, hint)


def same(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding; NaN equals NaN."""
    if a.shape != b.shape:
        return False
    return torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
