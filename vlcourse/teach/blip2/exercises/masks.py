"""The three masks over [queries ‖ text]: one network does three jobs, and only the mask differs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.models import qformer_masks
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_shape, fail
from vlcourse.teach.mistakes import Mistake, expect_right

KINDS = ("itc", "itm", "itg")
_MASKS = {
    "itc": qformer_masks.unimodal,
    "itm": qformer_masks.bidirectional,
    "itg": qformer_masks.multimodal_causal,
}


def qformer_mask(kind: str, queries: int, seen: Tensor) -> Tensor:
    """The reference: the library's own three.

    Args:
        kind: "itc" (unimodal), "itm" (bidirectional) or "itg" (multimodal causal).
        queries: Q, which stand before the text.
        seen: (B, L) bool, True for text, False for padding.

    Returns:
        (B, 1, Q + L, Q + L) bool: may the row's position look at the column's?
    """
    return _MASKS[kind](queries, seen)


def _with(slip: str, kind: str, queries: int, seen: Tensor) -> Tensor:
    """The whole by hand, with one mistake or none."""
    length = queries + seen.shape[1]
    text = torch.arange(length) >= queries
    if slip == "text first":
        text = torch.arange(length) < seen.shape[1]
    row, column = text[:, None], text[None, :]
    back = torch.ones(length, length, dtype=torch.bool).tril()
    every = torch.ones(length, length, dtype=torch.bool)
    itc = {
        "itc: all": every,
        "itc: text sees queries": ~column | (row & column),
        "itc: queries see text": ~row | (row & column),
        "itc: crossed": row != column,
    }.get(slip, row == column)
    itg = {
        "itg: not causal": ~column | (row & column),
        "itg: queries see text": ~row | ~column | (row & back),
        "itg: text blind": (~row & ~column) | (row & column & back),
        "itg: queries causal": back,
        "itg: forward": ~column | (row & back.T),
    }.get(slip, ~column | (row & back))
    itm = {"itm: causal": back, "itm: apart": row == column}.get(slip, every)
    allowed = {"itc": itc, "itm": itm, "itg": itg}[kind]
    if slip == "transposed":
        allowed = allowed.T
    real = F.pad(seen, (queries, 0), value=True)  # (B, Q + L)
    if slip == "text first":
        real = F.pad(seen, (0, queries), value=True)
    eye = torch.eye(length, dtype=torch.bool)
    if slip == "padding seen":
        return (allowed | eye).expand(len(seen), 1, -1, -1)
    found = allowed & real[:, None, None, :]
    if slip != "empty rows":
        found = found | eye
    else:
        found = found & real[:, None, :, None]
    return ~found if slip == "True for hidden" else found


def _mistake(slip: str, what: str, hint: str, name: str = "") -> Mistake:
    return Mistake(name or slip, partial(_with, slip), what, hint)


_ITC = "ITC compares queries and text: each side sees itself only, row == column."
_ITG = "ITG: all see the queries; a text token sees, besides, the text up to itself."
_MISTAKES = (
    _mistake(
        "True for hidden",
        "True and False are the other way round",
        "True means: the row may look at the column.",
    ),
    _mistake(
        "itc: all",
        "ITC's queries and text see each other, so the answer leaks",
        f"{_ITC} Else both sides could agree on any code, without understanding.",
    ),
    _mistake("itc: text sees queries", "ITC's text sees the queries, so the image leaks", _ITC),
    _mistake("itc: queries see text", "ITC's queries see the text, so the answer leaks", _ITC),
    _mistake("itc: crossed", "ITC's queries see only the text, and the text only them", _ITC),
    _mistake(
        "itg: not causal",
        "ITG's text sees the words that follow: writing becomes copying",
        f"{_ITG} torch.ones(S, S, dtype=torch.bool).tril() says what lies before.",
    ),
    _mistake(
        "itg: queries see text",
        "ITG's queries see the text, and hand it on to the words before",
        f"{_ITG} Queries see queries only, else they whisper the answer.",
    ),
    _mistake(
        "itg: text blind",
        "ITG's text does not see the queries, so it cannot know the image",
        f"{_ITG} The text never looks at the image itself: all comes through the queries.",
    ),
    _mistake(
        "itg: queries causal",
        "ITG's queries see only the queries before them",
        f"{_ITG} Queries are no sequence: all of them see all of them.",
    ),
    _mistake(
        "itg: forward",
        "ITG's text sees the words that follow, and not those before",
        f"{_ITG} .tril() keeps what lies before, .triu() what follows.",
    ),
    _mistake("itm: causal", "ITM's mask is causal", "ITM judges the pair as a whole: all see all."),
    _mistake(
        "itm: apart",
        "ITM's queries and text do not see each other",
        "ITM judges the pair together: all see all.",
    ),
    _mistake("transposed", "rows and columns are swapped", "A row looks, a column is looked at."),
    _mistake(
        "padding seen",
        "padding is looked at",
        "The columns where `seen` is False are hidden from all: & real[:, None, None, :].",
    ),
    _mistake(
        "text first",
        "the text stands before the queries",
        "The sequence is [queries ‖ text]: positions below `queries` are queries.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    queries, length = 3, 5
    seen = torch.arange(length) < torch.tensor([[5], [3]])
    shape = (2, 1, queries + length, queries + length)
    axes = "One mask for each text: (B, 1, S, S); the 1 stands for the heads."
    for kind in KINDS:
        value = call(candidate, kind, queries, seen)
        expect_shape(value, shape, f"the mask of {kind}", axes)
        if value.dtype != torch.bool:
            name = str(value.dtype).removeprefix("torch.")
            fail(f"the mask of {kind} is {name}, not bool", "Compare, and combine with & | ~.")

    def run(function: Callable[..., Any], queries: int = queries, seen: Tensor = seen) -> Any:
        """The rows of queries and text: what padding looks at is nobody's business."""
        real = F.pad(seen, (queries, 0), value=True)
        return torch.stack([function(kind, queries, seen)[:, 0][real] for kind in KINDS])

    hint = "ITC: each side sees itself. ITM: all see all. ITG: text sees queries and earlier text."
    expect_right(run, candidate, qformer_mask, _MISTAKES, "the mask", hint)
    for kind in KINDS:
        expect(
            bool(candidate(kind, queries, seen).any(dim=-1).all()),
            f"a row of {kind}'s mask is empty: softmax over nothing is NaN",
            "Let each position look at itself, padding too: | torch.eye(S, dtype=torch.bool).",
        )
    for other in (1, 4):
        again = partial(run, queries=other, seen=seen[1:])
        said = f"the mask for {other} queries and one text"
        expect_right(again, candidate, qformer_mask, _MISTAKES, said, hint)


def _by_blocks(kind: str, queries: int, seen: Tensor) -> Tensor:
    length = seen.shape[1]
    allowed = torch.zeros(queries + length, queries + length, dtype=torch.bool)
    allowed[:queries, :queries] = True
    allowed[queries:, queries:] = True
    if kind == "itg":
        allowed[queries:, queries:] = torch.ones(length, length, dtype=torch.bool).tril()
        allowed[queries:, :queries] = True
    if kind == "itm":
        allowed[:] = True
    found = allowed.expand(len(seen), 1, -1, -1).clone()
    found[:, :, :, queries:] &= seen[:, None, None, :]
    return found | torch.eye(queries + length, dtype=torch.bool)


def _by_loop(kind: str, queries: int, seen: Tensor) -> Tensor:
    size = queries + seen.shape[1]
    found = torch.zeros(len(seen), 1, size, size, dtype=torch.bool)
    for text, row, column in (
        (b, i, j) for b in range(len(seen)) for i in range(size) for j in range(size)
    ):
        looks, looked_at = row >= queries, column >= queries
        if kind == "itc":
            may = looks == looked_at
        elif kind == "itm":
            may = True
        else:
            may = not looked_at or (looks and column <= row)
        hidden = looked_at and not seen[text, column - queries]
        found[text, 0, row, column] = row == column or (may and not hidden)
    return found


def _padding_alone(kind: str, queries: int, seen: Tensor) -> Tensor:
    """A position of padding looks at itself only."""
    found = qformer_mask(kind, queries, seen).clone()
    real = F.pad(seen, (queries, 0), value=True)
    found &= real[:, None, :, None]
    return found | torch.eye(found.shape[-1], dtype=torch.bool)


def _in_place(kind: str, queries: int, seen: Tensor) -> Tensor:
    found = qformer_mask(kind, queries, seen)
    seen[:] = True
    return found


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip2.masks",
        title="Three masks",
        minutes=10,
        difficulty=2,
        reference=qformer_mask,
        check=_check,
        hints=(
            "First say of each position whether it is text: torch.arange(S) >= queries.",
            "With row = text[:, None] and column = text: ITC is row == column, ITM is all True, "
            "ITG is ~column | (row & back), where back is torch.ones(S, S).bool().tril().",
            "At last hide padding, F.pad(seen, (queries, 0), value=True)[:, None, None, :], and "
            "let each position see itself: | torch.eye(S, dtype=torch.bool).",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("a row without any", partial(_with, "empty rows"), "| torch.eye("),
            Wrong("no axis of heads", lambda k, q, s: qformer_mask(k, q, s)[:, 0], "the heads"),
            Wrong("floats", lambda k, q, s: qformer_mask(k, q, s).float(), "combine with & | ~"),
            Wrong("in place", _in_place, "in place"),
        ),
        right=(
            Right("by blocks", _by_blocks),
            Right("three loops", _by_loop),
            Right("padding sees itself only", _padding_alone),
        ),
    ),
)
