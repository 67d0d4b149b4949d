"""What is learned of a chat about a video: the answers, and the sign by which each one ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlcourse.data.collate.text import IGNORED
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect
from vlcourse.teach.mistakes import Mistake, expect_right

Ids = list[int]
Turns = Sequence[tuple[Ids, Ids]]
VIDEO = -1


def chat_labels(before: Ids, video: int, turns: Turns, end: Ids) -> tuple[Ids, Ids]:
    """The reference: what ``DialogueCollate`` and ``insert_targets`` do together.

    Args:
        before: ids of what stands before the video, the start of the text first.
        video: how many vectors the video has.
        turns: ids of each question, with all that stands before its answer; ids of the answer.
        end: ids of the sign that closes an answer.

    Returns:
        What is read, -1 where a vector of the video stands; and what is learned there: the next
        id, or -100.
    """
    read, learned = [*before, *[VIDEO] * video], [False] * (len(before) + video)
    for question, answer in turns:
        read += [*question, *answer, *end]
        learned += [False] * len(question) + [True] * (len(answer) + len(end))
    targets = [i if own else IGNORED for i, own in zip(read[1:], learned[1:], strict=True)]
    return read[:-1], targets


def _with(slip: str, before: Ids, video: int, turns: Turns, end: Ids) -> tuple[Ids, Ids]:
    """With one mistake or none."""
    read, learned = [*before, *[VIDEO] * video], [slip == "all learned"] * (len(before) + video)
    if slip == "video first":
        read = [*[VIDEO] * video, *before]
    if slip == "no video":
        read, learned = [*before], [False] * len(before)
    if slip == "one place for the video":
        read, learned = [*before, VIDEO], [False] * (len(before) + 1)
    for number, (question, answer) in enumerate(turns, start=1):
        sign = [] if slip == "one end" and number < len(turns) else end
        read += [*question, *answer, *sign]
        asks, says, closes = slip in ("all learned", "questions learned"), True, True
        if slip == "questions learned":
            says = closes = False
        if slip == "end not learned":
            closes = False
        if slip == "only the last answer" and number < len(turns):
            says = closes = False
        if slip == "only the end":
            says = False
        learned += [asks] * len(question) + [says] * len(answer) + [closes] * len(sign)
    fill = 0 if slip == "zeros" else IGNORED
    if slip == "not shifted":
        return read, [i if own else fill for i, own in zip(read, learned, strict=True)]
    if slip == "mask not shifted":
        pairs = zip(read[1:], learned[:-1], strict=True)
        return read[:-1], [i if own else fill for i, own in pairs]
    targets = [i if own and i >= 0 else fill for i, own in zip(read[1:], learned[1:], strict=True)]
    return (read, [*targets, fill]) if slip == "end is read" else (read[:-1], targets)


LONGEST = 40


def _flat(two: Any) -> Tensor:
    """Both lists filled up with -7, one after the other."""
    return torch.tensor([i for each in two for i in [*each, *[-7] * LONGEST][:LONGEST]])


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, lambda *a: _flat(_with(slip, *a)), what, hint)


_NEXT = "The target of a place is what stands at the next: zip(read[1:], learned[1:])."
_END = "Each answer with the sign after it: by it the model says that it is done."
_MISTAKES = (
    _mistake("all learned", "questions are learned as well", "-100 where no answer comes next."),
    _mistake("questions learned", "the questions are learned, the answers not", "The answers are."),
    _mistake("end not learned", "the signs after the answers are not learned", _END),
    _mistake("only the end", "the answers are not learned, only their signs", _END),
    _mistake("one end", "only the last answer has its sign", _END),
    _mistake("only the last answer", "the earlier answers are not learned", "All answers are."),
    _mistake("video first", "the video stands at the very beginning", "before, then the video."),
    _mistake("no video", "the video's places are missing", "-1, as often as video says."),
    _mistake("one place for the video", "the video has one place only", "[-1] * video."),
    _mistake("zeros", "what is not learned is 0", "Put -100 there: 0 is a token."),
    _mistake("not shifted", "each place learns itself", _NEXT),
    _mistake(
        "mask not shifted",
        "the first id of each answer is not learned, but one too many after it",
        _NEXT,
    ),
    _mistake(
        "end is read", "the last sign is read", "Nothing follows it: the last id is only learned."
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    for arguments in (
        ([1, 7, 3], 4, [([5, 9], [4, 6]), ([8, 8, 5], [2]), ([9], [6, 3, 4])], [11, 12]),
        ([1], 2, [([5, 9, 0], [0, 6])], [11]),
        ([1, 4], 3, [([6], [5, 5]), ([7], [3])], [2]),
    ):

        def run(function: Callable[..., Any], given: Any = arguments) -> Tensor:
            found = call(function, *given)
            if isinstance(found, Tensor):
                return found
            two = isinstance(found, (tuple, list)) and len(found) == 2
            expect(two, "the answer is not two lists", "return read, targets")
            for each in found:
                plain = isinstance(each, list) and all(type(i) is int for i in each)
                expect(plain, "the answer is not two lists of whole numbers", "Plain lists.")
            same = len(found[0]) == len(found[1])
            expect(same, "the two lists are not equally long", _NEXT)
            return _flat(found)

        expect_right(
            run, candidate, chat_labels, _MISTAKES, "both lists, each filled up with -7,", _NEXT
        )


def _by_position(before: Ids, video: int, turns: Turns, end: Ids) -> tuple[Ids, Ids]:
    whole = [(i, False) for i in before] + [(VIDEO, False)] * video
    for question, answer in turns:
        whole += [(i, False) for i in question] + [(i, True) for i in answer + end]
    read = [i for i, _ in whole[:-1]]
    return read, [i if learn else -100 for i, learn in whole[1:]]


def _ahead(before: Ids, video: int, turns: Turns, end: Ids) -> tuple[Ids, Ids]:
    read, targets = list(before) + [-1] * video, [-100] * (len(before) + video - 1)
    for question, answer in turns:
        read = read + question + answer + end
        targets = targets + [-100] * len(question) + answer + end
    return read[:-1], targets


def _by_tensors(before: Ids, video: int, turns: Turns, end: Ids) -> tuple[Ids, Ids]:
    pieces = [torch.tensor(before), torch.full((video,), -1)]
    masks = [torch.zeros(len(before) + video, dtype=torch.bool)]
    for question, answer in turns:
        pieces += [torch.tensor(question), torch.tensor(answer + end)]
        masks += [torch.zeros(len(question)).bool(), torch.ones(len(answer) + len(end)).bool()]
    ids = torch.cat(pieces)
    targets = ids.masked_fill(~torch.cat(masks), -100)
    return ids[:-1].tolist(), targets[1:].tolist()


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="videochat.labels",
        title="Learn what the assistant says",
        minutes=8,
        difficulty=2,
        reference=chat_labels,
        check=_check,
        hints=(
            "Make two lists side by side: what stands at each place, and whether it is learned.",
            "Not learned: before, the video, the questions. Learned: answers, each with end.",
            "return read[:-1], [i if own else -100 for i, own in zip(read[1:], learned[1:])].",
        ),
        wrong=(
            *(Wrong(m.name, partial(_with, m.name), m.hint) for m in _MISTAKES),
            Wrong("what is read alone", lambda *a: chat_labels(*a)[0], "return read, targets"),
            Wrong("tensors", lambda *a: tuple(map(torch.tensor, chat_labels(*a))), "Plain lists"),
        ),
        right=(
            Right("place by place", _by_position),
            Right("targets one ahead", _ahead),
            Right("with tensors inside", _by_tensors),
        ),
    ),
)
