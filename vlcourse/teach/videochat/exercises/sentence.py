"""Which frames are taken of a video, and the sentence that tells the language model when."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from vlcourse.data.media import Media, sampled
from vlcourse.teach.checking import Exercise, Right, Wrong
from vlcourse.teach.mistakes import Mistake
from vlcourse.teach.videochat.exercises.said import expect_said


def timestamp_sentence(shown: Sequence[float], duration: float, n: int) -> str:
    """The reference: what :meth:`vlcourse.data.media.Media.uniform` and ``sampled`` do.

    Args:
        shown: when each frame of the file comes up, in seconds: the first at 0, increasing.
        duration: of the video, in seconds.
        n: how many frames to take, if there are as many.

    Returns:
        "The video contains 2 frames sampled at 0.4, 1.2 seconds."
    """
    middles = [(k + 0.5) * duration / n for k in range(n)]
    taken = sorted({max(t for t in shown if t <= middle) for middle in middles})
    return sampled(tuple(taken))


def _said(times: Sequence[float], count: int, form: str = ".1f", plural: bool = False) -> str:
    many = f"{count} frame" + "s" * (plural or count != 1)
    return (
        f"The video contains {many} sampled at {', '.join(f'{t:{form}}' for t in times)} seconds."
    )


def _with(slip: str, shown: Sequence[float], duration: float, n: int) -> str:
    """With one mistake or none."""
    at = [(k + 0.5) * duration / n for k in range(n)]
    if slip == "starts of the parts":
        at = [k * duration / n for k in range(n)]
    if slip == "from end to end":
        at = [k * duration / max(n - 1, 1) for k in range(n)]
    last = [max(t for t in shown if t <= time) for time in at]
    if slip == "the next frame":
        last = [min((t for t in shown if t >= time), default=shown[-1]) for time in at]
    if slip == "even steps of the frames":
        last = [shown[int((k + 0.5) * len(shown) / n)] for k in range(n)]
    if slip == "the middles themselves":
        return _said(at, n)
    if slip == "a frame twice":
        return _said(last, n)
    taken = sorted(set(last))
    if slip == "no full stop":
        return _said(taken, len(taken))[:-1]
    form = {"whole seconds": ".0f", "two digits": ".2f"}.get(slip, ".1f")
    count = n if slip == "says what was asked for" else len(taken)
    return _said(taken, count, form, plural=slip == "1 frames")


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, partial(_with, slip), what, hint)


_ON = "At a time t the frame on the screen is the last one with shown ≤ t."
_MIDDLE = "Cut the duration into n equal parts; their middles are (k + 0.5) · duration / n."
_MISTAKES = (
    _mistake("the middles themselves", "the times are those of no frame", _ON),
    _mistake(
        "a frame twice",
        "a frame is named twice",
        "A short clip may have fewer frames than n: each frame once, and the number that is true.",
    ),
    _mistake(
        "says what was asked for",
        "it says n frames where there are fewer",
        "Count the frames that were taken.",
    ),
    _mistake("the next frame", "a frame is taken that is not on the screen yet", _ON),
    _mistake(
        "even steps of the frames",
        "the frames are counted off evenly, as if each lasted equally long",
        f"Frame rates vary: go by the times. {_MIDDLE}",
    ),
    _mistake("starts of the parts", "the parts' starts are taken", _MIDDLE),
    _mistake("from end to end", "the frames go from the very first moment to the last", _MIDDLE),
    _mistake("1 frames", "it says “1 frames”", "One frame has no s."),
    _mistake("whole seconds", "the seconds have no digit after the point", 'f"{t:.1f}"'),
    _mistake("two digits", "the seconds have two digits after the point", 'f"{t:.1f}"'),
    _mistake("no full stop", "the sentence does not end with a full stop", "It is a sentence."),
)


def _check(candidate: Callable[..., Any]) -> None:
    steady = [i / 5 for i in range(41)]
    uneven = [0.0, 0.3, 2.4, 2.9, 3.1, 3.3, 3.6, 3.8, 7.4]
    for arguments in (
        (steady, 8.2, 8),
        (uneven, 8.0, 4),
        ([0.0, 0.9, 1.7], 2.6, 8),
        ([0.0, 0.4, 1.2], 1.6, 3),
        ([0.0], 3.0, 4),
        ([0.0, 1.0, 2.0], 3.0, 1),
    ):
        expect_said(candidate, timestamp_sentence, _MISTAKES, arguments, "the sentence", _ON)


def _by_bisection(shown: Sequence[float], duration: float, n: int) -> str:
    places: list[int] = []
    for k in range(n):
        place = bisect_right(shown, (2 * k + 1) * duration / (2 * n)) - 1
        if place not in places:
            places.append(place)
    times = ", ".join(str(round(shown[place], 1)) for place in places)
    frames = "1 frame" if len(places) == 1 else f"{len(places)} frames"
    return "The video contains " + frames + " sampled at " + times + " seconds."


def _by_library(shown: Sequence[float], duration: float, n: int) -> str:
    frames = torch.zeros(len(shown), 3, 1, 1, dtype=torch.uint8)
    return sampled(Media("", frames, tuple(shown), duration).uniform(n).times)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="videochat.timestamps",
        title="When was that?",
        minutes=7,
        difficulty=2,
        reference=timestamp_sentence,
        check=_check,
        hints=(
            "First the n middles, then the frame on the screen at each, then each frame once.",
            "middles = [(k + 0.5) * duration / n for k in range(n)]; at a middle m it is "
            "max(t for t in shown if t <= m).",
            "taken = sorted({max(t for t in shown if t <= m) for m in middles}); the sentence "
            "names len(taken) and f\"{t:.1f}\" of each, joined by ', '.",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("the times alone", lambda *a: "0.4, 1.2", "last one with shown"),
        ),
        right=(
            Right("step by step", partial(_with, "")),
            Right("by bisection", _by_bisection),
            Right("the library's own", _by_library),
        ),
    ),
)
