"""Something said of a stretch of time: a caption, a subtitle, what was heard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A text that holds from ``start`` to ``end``, in seconds from the beginning of a video."""

    start: float
    end: float
    text: str
    box: tuple[int, int, int, int] | None = None
    """Where in the picture: left, top, right, bottom, in pixels of the frames that were looked at;
    None for all of it."""


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, rounded down: 62.9 → "01:02", 3,600 → "60:00"."""
    whole = max(int(seconds), 0)
    return f"{whole // 60:02d}:{whole % 60:02d}"
