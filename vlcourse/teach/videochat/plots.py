"""What the VideoChat lecture measures and shows of films; its drawings are in figures.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlcourse.data.world import film
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_captions import clause
from vlcourse.teach.clip.figures import TEXT
from vlcourse.teach.drawing import GREY, new_figure
from vlcourse.teach.drawing import image as draw_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 96  # pixels of a frame in a figure


def story(timeline: Timeline, times: Sequence[float]) -> Figure:
    """Frames of a film on its time axis, and below them what happens when.

    Args:
        timeline: the film.
        times: of the frames, in seconds; at least two.
    """
    row, count = 0.045 * timeline.duration, len(timeline.events)
    wide = min(b - a for a, b in zip(times, times[1:], strict=False))
    figure, (axis,) = new_figure(13.5, 0.9 + 13 * (wide + row * count) / timeline.duration)
    on_axis(axis, timeline, times)
    for number, event in enumerate(timeline.events):
        y = -row * (number + 0.6)
        begin, end = event.span
        axis.plot((begin, max(end, begin + 0.08)), (y, y), color=TEXT, linewidth=8)
        late = begin > 0.55 * timeline.duration
        axis.text(
            begin - 0.12 if late else max(end, begin) + 0.15, y, clause(timeline.script, event),
            ha="right" if late else "left", va="center", fontsize=14,
        )  # fmt: skip
    axis.set(ylim=(-row * (count + 0.2), axis.get_ylim()[1]))
    return figure


def on_axis(axis: Axes, timeline: Timeline, times: Sequence[float], bottom: float = 0.0) -> float:
    """Draw a film's frames above ``bottom`` at their times; how high they are.

    The axis becomes one of seconds, from the film's beginning to its end.
    """
    pictures = film.frames(timeline, times, SIDE)
    wide = 0.92 * min(b - a for a, b in zip(times, times[1:], strict=False))
    for picture, time in zip(pictures, times, strict=True):
        draw_image(axis, picture, time - wide / 2, bottom + 0.1, wide)
        axis.plot((time, time), (bottom, bottom + 0.1), color=GREY, linewidth=1.5)
    left, right = min(0.0, times[0] - wide / 2), max(timeline.duration, times[-1] + wide / 2)
    axis.set(xlim=(left, right), ylim=(bottom, bottom + wide + 0.15), aspect="equal")
    axis.set(xlabel="time (s)", yticks=(), xticks=range(timeline.duration + 1))
    axis.spines["left"].set_visible(False)
    axis.grid(True, axis="x")
    axis.set_axisbelow(True)
    return wide
