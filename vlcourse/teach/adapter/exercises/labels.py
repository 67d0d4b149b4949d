"""Answer-only labels: all of a conversation is read, and only its answers are learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlcourse.data.collate.text import IGNORED
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect
from vlcourse.teach.mistakes import Mistake, expect_right

Parts = Sequence[tuple[list[int], bool]]
Two = tuple[list[int], list[int]]


def answer_only(parts: Parts, bos: int, eos: int) -> Two:
    """The reference: what the library's collate does, for one text.

    Args:
        parts: pieces of a text, each as its ids and whether it is an answer.
        bos, eos: the ids that begin and end a text.

    Returns:
        What is read, and what is learned there: the next id, or -100.
    """
    ids, learned = [bos], [False]
    for part, answer in parts:
        ids += part
        learned += [answer] * len(part)
    ids, learned = [*ids, eos], [*learned, parts[-1][1]]
    targets = [i if own else IGNORED for i, own in zip(ids[1:], learned[1:], strict=True)]
    return ids[:-1], targets


def _with(slip: str, parts: Parts, bos: int, eos: int) -> Two:
    """With one mistake or none."""
    ids, learned = ([], []) if slip == "no beginning" else ([bos], [slip == "all learned"])
    for part, answer in parts:
        own = answer if slip != "questions learned" else not answer
        ids = [*ids, *part]
        learned = [*learned, *[own or slip == "all learned"] * len(part)]
        if slip == "ends after each answer" and answer:
            ids, learned = [*ids, eos], [*learned, True]
    if slip != "ends after each answer":
        ids, learned = [*ids, eos], [*learned, slip != "end not learned" and parts[-1][1]]
    if slip == "only the last answer":
        last = len(parts[-1][0]) + 1
        learned = [False] * (len(ids) - last) + learned[-last:]
    fill = 0 if slip == "zeros" else IGNORED
    if slip == "not shifted":
        return ids, [i if own else fill for i, own in zip(ids, learned, strict=True)]
    if slip == "mask not shifted":
        pairs = zip(ids[1:], learned[:-1], strict=True)
        return ids[:-1], [i if own else fill for i, own in pairs]
    targets = [i if own else fill for i, own in zip(ids[1:], learned[1:], strict=True)]
    if slip == "end is read":
        return ids, [*targets, fill]
    if slip == "shifted twice":
        targets = [*targets[1:], fill]
    return ids[:-1], targets


LONGEST = 20


def _flat(two: Any) -> Tensor:
    """Both lists filled up with -1, one after the other."""
    return torch.tensor([i for each in two for i in [*each, *[-1] * LONGEST][:LONGEST]])


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, lambda *a: _flat(_with(slip, *a)), what, hint)


_NEXT = "The target of a position is the id that comes next: zip(ids[1:], learned[1:])."
_MISTAKES = (
    _mistake("no beginning", "the text does not begin with bos", "ids = [bos], not learned."),
    _mistake("all learned", "the questions are learned as well", "-100 where no answer is next."),
    _mistake("questions learned", "the questions are learned, the answers not", "True: an answer."),
    _mistake(
        "ends after each answer",
        "each answer is followed by eos",
        "One eos, at the end of the whole text.",
    ),
    _mistake(
        "end not learned",
        "eos is not learned",
        "The end belongs to the last answer; else the model never stops.",
    ),
    _mistake("only the last answer", "the earlier answers are not learned", "All answers are."),
    _mistake("zeros", "the ids that are not learned are 0", "Put -100 there: 0 is a token."),
    _mistake("not shifted", "each position learns itself", _NEXT),
    _mistake(
        "mask not shifted",
        "the first id of each answer is not learned, but one too many after it",
        _NEXT,
    ),
    _mistake("end is read", "eos is read", "Nothing follows the end: the last id is only learned."),
    _mistake("shifted twice", "each position learns the id after the next", _NEXT),
)


def _check(candidate: Callable[..., Any]) -> None:
    for parts in (
        [([7, 3], False), ([5, 9, 4], True)],
        [([7, 3], False), ([5], True), ([6, 8, 6], False), ([9, 4], True)],
        [([3], False), ([8, 8], True), ([5, 3, 7], False)],
    ):

        def run(function: Callable[..., Any], parts: Any = parts) -> Tensor:
            found = call(function, parts, 1, 2)
            if isinstance(found, Tensor):
                return found
            two = isinstance(found, (tuple, list)) and len(found) == 2
            expect(two, "the answer is not two lists", "return tokens, targets")
            for each in found:
                plain = isinstance(each, list) and all(type(i) is int for i in each)
                expect(plain, "the answer is not two lists of whole numbers", "Plain lists.")
            long = len(found[0]) == len(found[1])
            expect(long, "tokens and targets are not equally long", _NEXT)
            return _flat(found)

        expect_right(
            run,
            candidate,
            answer_only,
            _MISTAKES,
            "tokens and targets, each filled up with -1,",
            _NEXT,
        )


def _by_position(parts: Parts, bos: int, eos: int) -> Two:
    whole = [(bos, False), *((i, answer) for ids, answer in parts for i in ids)]
    whole.append((eos, parts[-1][1]))
    tokens, targets = [], []
    for (now, _), (then, learn) in zip(whole, whole[1:], strict=False):
        tokens.append(now)
        targets.append(then if learn else -100)
    return tokens, targets


def _ahead(parts: Parts, bos: int, eos: int) -> Two:
    tokens: list[int] = [bos]
    targets: list[int] = []
    for ids, answer in parts:
        tokens = tokens + ids
        targets = targets + (list(ids) if answer else [-100] * len(ids))
    return tokens, [*targets, eos if parts[-1][1] else -100]


def _by_tensors(parts: Parts, bos: int, eos: int) -> Two:
    ids = torch.tensor([bos, *(i for part, _ in parts for i in part), eos])
    own = [False, *(answer for part, answer in parts for _ in part), parts[-1][1]]
    targets = ids.masked_fill(~torch.tensor(own), -100)
    return ids[:-1].tolist(), targets[1:].tolist()


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="adapter.answer_only",
        title="Learn the answers only",
        minutes=7,
        difficulty=1,
        reference=answer_only,
        check=_check,
        hints=(
            "Make two lists side by side: the ids, and whether each is to be learned.",
            "bos is not learned; eos is learned if the last part is.",
            "return ids[:-1], [i if own else -100 for i, own in zip(ids[1:], learned[1:])].",
        ),
        wrong=(
            *(Wrong(m.name, partial(_with, m.name), m.hint) for m in _MISTAKES),
            Wrong("tokens alone", lambda *a: answer_only(*a)[0], "return tokens, targets"),
            Wrong("tensors", lambda *a: tuple(map(torch.tensor, answer_only(*a))), "Plain lists"),
        ),
        right=(
            Right("position by position", _by_position),
            Right("targets one ahead", _ahead),
            Right("with tensors inside", _by_tensors),
        ),
    ),
)
