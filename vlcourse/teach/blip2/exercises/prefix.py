"""Prefix language modelling: the encoder reads the beginning of a text, the decoder goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from vlcourse.data.collate.prefix import prefix_lm
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_equal, fail

Lists = tuple[list[int], list[int], list[int]]


def split_prefix(ids: list[int], share: float, start: int) -> Lists:
    """The reference: what the library makes of a batch of one.

    Args:
        ids: a text's tokens, two or more, its end among them.
        share: 0 ≤ share < 1, where the cut falls between the first token and the middle.
        start: the decoder's start id.

    Returns:
        What the encoder reads; what the decoder reads; what it learns.
    """
    cut = 1 + int(share * (len(ids) // 2))
    batch = prefix_lm(
        torch.tensor([ids]), torch.tensor([len(ids)]), torch.tensor([cut]), start
    )  # (1, …)
    inputs, read, learned = (batch[name][0].tolist() for name in ("inputs", "tokens", "targets"))
    return inputs, read, learned


def _with(slip: str, ids: list[int], share: float, start: int) -> Lists:
    """The whole by hand, with one mistake or none."""
    half = len(ids) // 2
    cut = 1 + int(share * half)
    cut = {
        "empty prefix": int(share * half),
        "whole length": min(1 + int(share * len(ids)), len(ids) - 1),
        "always the middle": half,
        "always one": 1,
    }.get(slip, cut)
    before, after = ids[:cut], ids[cut:]
    found = {
        "not shifted": (before, after, after),
        "no start": (before, after[:-1], after[1:]),
        "start kept": (before, [start, *after], after),
        "shifted by the prefix": (before, [before[-1], *after[:-1]], after),
        "all learned": (before, [start, *ids[:-1]], ids),
        "all read": (ids, [start, *after[:-1]], after),
        "prefix read again": (before, [start, *before, *after[:-1]], [-100] * cut + after),
        "swapped": (after, [start, *before[:-1]], before),
        "no end": (before, [start, *after[:-2]], after[:-1]),
        "start in the prefix": ([start, *before], [start, *after[:-1]], after),
    }
    return found.get(slip, (before, [start, *after[:-1]], after))


# In this order the first that gives the student's answer names the mistake.
_MISTAKES = (
    (
        "not shifted",
        "the decoder reads the very token that it is to predict",
        "It reads what is written *before*: [start, *learned[:-1]].",
    ),
    (
        "no start",
        "nobody learns the first token after the cut",
        "The decoder begins with `start`, which predicts it: [start, *learned[:-1]].",
    ),
    (
        "shifted by the prefix",
        "the decoder begins with the prefix's last token",
        "It begins with `start`; the prefix is the encoder's.",
    ),
    (
        "start kept",
        "the decoder reads one token more than it learns",
        "Nothing follows the last one: [start, *learned[:-1]].",
    ),
    (
        "all learned",
        "the decoder learns the prefix, too",
        "The prefix is given: learned = ids[cut:].",
    ),
    (
        "all read",
        "the encoder reads what the decoder is to write",
        "The encoder reads the prefix only: ids[:cut].",
    ),
    (
        "prefix read again",
        "the decoder reads the prefix again",
        "The decoder looks at the encoder's states; it reads [start, *learned[:-1]] only.",
    ),
    (
        "swapped",
        "the encoder reads the end, and the decoder writes the beginning",
        "The prefix comes first: ids[:cut] is read, ids[cut:] is written.",
    ),
    (
        "no end",
        "the last token is not learned, so the text would never stop",
        "learned = ids[cut:], its end among them.",
    ),
    (
        "start in the prefix",
        "the encoder reads the decoder's start",
        "`start` is the decoder's only.",
    ),
    (
        "empty prefix",
        "the prefix may be empty",
        "At least one token is read: cut = 1 + int(share * (len(ids) // 2)).",
    ),
    (
        "whole length",
        "the cut falls anywhere in the text",
        "From the first token to the middle: cut = 1 + int(share * (len(ids) // 2)).",
    ),
    (
        "always the middle",
        "the cut is always in the middle",
        "`share` says where: cut = 1 + int(share * (len(ids) // 2)).",
    ),
    (
        "always one",
        "the cut is always after the first token",
        "`share` says where: cut = 1 + int(share * (len(ids) // 2)).",
    ),
)
_CASES = (([11, 12, 13, 14, 15, 16, 17, 18, 2], 0.6), ([11, 12, 13, 14, 15, 2], 0.7))
_EDGES = (([11, 2], 0.0), ([11, 12, 2], 0.99), ([11, 12, 13, 14, 15, 16, 17, 2], 0.0))


def _check(candidate: Callable[..., Any]) -> None:
    for ids, share in (*_CASES, *_EDGES):
        start = 0
        found = call(candidate, list(ids), share, start)
        three = isinstance(found, (tuple, list)) and len(found) == 3
        expect(three, "the answer is not three lists", "Return read, written, learned.")
        named = zip(("the prefix", "what the decoder reads", "what it learns"), found, strict=True)
        for what, each in named:
            expect(
                isinstance(each, list),
                f"{what} is no list of ids",
                "Slices of a list are lists: ids[:cut].",
            )
        right = split_prefix(ids, share, start)
        if tuple(found) != right:
            for slip, what, hint in _MISTAKES:
                if all(
                    tuple(candidate(list(ids), share, start)) == _with(slip, ids, share, start)
                    for ids, share in _CASES
                ):
                    fail(what, hint)
        for what, mine, wanted in zip(
            ("the prefix", "what the decoder reads", "what it learns"), found, right, strict=True
        ):
            told = f"{what}, of {ids} cut with share = {share}"
            expect_equal(mine, wanted, told, "read ids[:cut], learn ids[cut:].")


def _by_tensor(ids: list[int], share: float, start: int) -> Lists:
    length = torch.tensor([len(ids)])
    cut = int(1 + (torch.tensor([share]) * (length // 2)).long())
    learned = torch.tensor(ids)[cut:].tolist()
    return ids[:cut], [start] + learned[:-1], learned


def _by_loop(ids: list[int], share: float, start: int) -> Lists:
    cut, read, learned, written = 1 + int(share * (len(ids) // 2)), [], [], [start]
    for place, token in enumerate(ids):
        if place < cut:
            read.append(token)
        else:
            learned.append(token)
            written.append(token)
    return read, written[:-1], learned


def _popped(ids: list[int], share: float, start: int) -> Any:
    middle = len(ids) // 2
    cut = 1 + int(middle * share)
    learned = [*ids[cut:]]
    written = [start, *learned]
    written.pop()
    return [[*ids[:cut]], written, learned]


def _in_place(ids: list[int], share: float, start: int) -> Lists:
    cut = 1 + int(share * (len(ids) // 2))
    learned = [ids.pop() for _ in range(len(ids) - cut)][::-1]
    return ids, [start, *learned[:-1]], learned


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip2.prefix",
        title="Cut in two",
        minutes=5,
        difficulty=1,
        reference=split_prefix,
        check=_check,
        hints=(
            "Find the cut, then there are two pieces: one is read, one is learned.",
            "cut = 1 + int(share * (len(ids) // 2))",
            "read, learned = ids[:cut], ids[cut:]; the decoder reads [start, *learned[:-1]].",
        ),
        wrong=(
            *(Wrong(slip, partial(_with, slip), hint) for slip, _, hint in _MISTAKES),
            Wrong("ids taken out", _in_place, "in place"),
            Wrong("two lists", lambda i, s, t: split_prefix(i, s, t)[:2], "Return read"),
            Wrong(
                "tensors",
                lambda i, s, t: tuple(torch.tensor(x) for x in split_prefix(i, s, t)),
                "are lists",
            ),
        ),
        right=(
            Right("with tensors", _by_tensor),
            Right("a loop", _by_loop),
            Right("popped", _popped),
        ),
    ),
)
