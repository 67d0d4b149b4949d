"""Answers that are words: an answer that says what a typical mistake says is told so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vlcourse.teach.checking import call, expect_equal, fail
from vlcourse.teach.mistakes import Mistake


def expect_said(
    candidate: Callable[..., Any],
    reference: Callable[..., Any],
    mistakes: Sequence[Mistake],
    arguments: Sequence[Any],
    what: str,
    hint: str,
) -> None:
    """Refuse an answer that is not the reference's, by the mistake it shows if that is known.

    Args:
        candidate, reference: the student's function, and the right one.
        mistakes: compared in this order.
        arguments: of the functions, which may not be changed.
        what, hint: for an answer that no mistake explains.
    """
    value, right = call(candidate, *arguments), reference(*arguments)
    if value != right:
        for mistake in mistakes:
            if value == mistake.function(*arguments):
                fail(mistake.what, mistake.hint)
    expect_equal(value, right, what, hint)
