"""A video as text: captions of frames become lines, each with the span of time it holds for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from itertools import groupby
from typing import Any

from vlcourse.chat.perception import Perceived
from vlcourse.chat.textualise import textualised
from vlcourse.data.segments import Segment, clock
from vlcourse.teach.checking import Exercise, Right, Wrong, expect
from vlcourse.teach.mistakes import Mistake
from vlcourse.teach.videochat.exercises.said import expect_said


def textualise(times: Sequence[float], captions: Sequence[str], duration: float) -> list[str]:
    """The reference.

    Args:
        times: of the frames, in seconds, increasing.
        captions: what is said of each.
        duration: of the video, in seconds.

    Returns:
        A line for each stretch of frames of which the same is said: "00:03-00:05 a red ring.".
    """
    lines: list[str] = []
    for i, caption in enumerate(captions):
        if i and caption == captions[i - 1]:
            continue
        changes = [t for t, c in zip(times[i:], captions[i:], strict=True) if c != caption]
        end = changes[0] if changes else duration
        lines.append(f"{clock(times[i])}-{clock(end)} {caption}.")
    return lines


def _rounded(seconds: float) -> str:
    return clock(round(seconds))


def _with(slip: str, times: Sequence[float], captions: Sequence[str], duration: float) -> list[str]:
    """With one mistake or none."""
    say: Callable[[float], str] = {
        "rounded": _rounded,
        "seconds alone": lambda seconds: f"{int(seconds)}",
        "no minutes": lambda seconds: f"00:{int(seconds):02d}",
        "no zeros": lambda seconds: f"{int(seconds) // 60}:{int(seconds) % 60}",
    }.get(slip, clock)
    ends = [*times[1:], duration]
    spans: list[list[Any]] = []
    for start, end, caption in zip(times, ends, captions, strict=True):
        said = [span[2] for span in spans]
        if slip == "all that are equal" and caption in said:
            spans[said.index(caption)][1] = end
        elif slip != "a line a frame" and said and said[-1] == caption:
            spans[-1][1] = start if slip == "ends at its last frame" else end
        else:
            spans.append([start, start if slip == "ends at its last frame" else end, caption])
    if slip == "open at the end":
        spans[-1][1] = times[-1]
    stop = "" if slip == "no full stop" else "."
    return [f"{say(start)}-{say(end)} {caption}{stop}" for start, end, caption in spans]


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, partial(_with, slip), what, hint)


_FORM = 'minutes and seconds in two digits each, rounded down: f"{s // 60:02d}:{s % 60:02d}".'
_MISTAKES = (
    _mistake(
        "a line a frame",
        "frames that say the same have a line each",
        "Begin a line only where the caption is another than the one before.",
    ),
    _mistake(
        "all that are equal",
        "what is said again later is put into the first line",
        "Compare with the caption just before: an order in time is all that the text has.",
    ),
    _mistake(
        "ends at its last frame",
        "a line ends at its last frame",
        "It holds until the next line begins.",
    ),
    _mistake("open at the end", "the last line does not end with the video", "The last: duration."),
    _mistake("rounded", "the times are rounded to the nearest second", _FORM),
    _mistake("seconds alone", "the times are plain seconds", _FORM),
    _mistake("no minutes", "75 seconds become 00:75", _FORM),
    _mistake("no zeros", "the times lack their zeros", _FORM),
    _mistake("no full stop", "the lines do not end with a full stop", 'f"{start}-{end} {said}."'),
)


def _check(candidate: Callable[..., Any]) -> None:
    for arguments in (
        ([0.0, 1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b", "a"], 5.0),
        ([0.0, 0.9, 2.7, 61.8, 62.9], ["one", "two", "two", "three", "three"], 75.6),
        ([0.0], ["a red ring"], 2.0),
    ):

        def lines(function: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(function)
            def run(*given: Any) -> Any:
                found = function(*given)
                plain = isinstance(found, (list, tuple)) and all(isinstance(x, str) for x in found)
                expect(plain, "the answer is not a list of lines", "A list of strings.")
                return list(found)

            return run

        expect_said(
            lines(candidate), textualise, _MISTAKES, arguments, "the lines",
            "One line for each stretch of equal captions.",
        )  # fmt: skip


def _by_groups(times: Sequence[float], captions: Sequence[str], duration: float) -> list[str]:
    groups = [list(group) for _, group in groupby(range(len(times)), key=captions.__getitem__)]
    starts = [int(times[group[0]]) for group in groups]
    lines = []
    for a, b, group in zip(starts, [*starts[1:], int(duration)], groups, strict=True):
        span = f"{a // 60:02d}:{a % 60:02d}-{b // 60:02d}:{b % 60:02d}"
        lines.append(f"{span} {captions[group[0]]}.")
    return lines


def _by_library(times: Sequence[float], captions: Sequence[str], duration: float) -> list[str]:
    ends = [*times[1:], duration]
    said = tuple(Segment(a, b, c) for a, b, c in zip(times, ends, captions, strict=True))
    return textualised(Perceived(duration, (("caption", said),)))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="videochat.textualise",
        title="A video as text",
        minutes=7,
        difficulty=1,
        reference=textualise,
        check=_check,
        hints=(
            "Walk over the frames and begin a line where the caption is another than before.",
            "A line ends where the next one begins, the last one with the video.",
            "spans = []; for t, c in zip(times, captions): if not spans or spans[-1][1] != c: "
            "spans.append((t, c)); the ends are the next starts, and duration.",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("one text", lambda *a: "\n".join(textualise(*a)), "A list of strings"),
            Wrong("captions alone", lambda t, c, d: [*dict.fromkeys(c)], "One line for each"),
        ),
        right=(
            Right("span by span", partial(_with, "")),
            Right("by groups", _by_groups),
            Right("the library's own", _by_library),
        ),
    ),
)
