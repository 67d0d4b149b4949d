"""What the VideoChat lecture measures and shows of films; its drawings are in figures.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlcourse.data.world import film
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_captions import clause
from vlcourse.teach import answers
from vlcourse.teach.adapter.figures import PROMPT_TEXT as TIME_TEXT
from vlcourse.teach.clip.figures import IMAGE, TEXT
from vlcourse.teach.drawing import GREY, legend_below, name_line, new_figure, percent_axis
from vlcourse.teach.drawing import image as draw_image
from vlcourse.teach.show import COLOURS

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
        begin, end = event.span[0], max(event.span[1], event.span[0] + 0.08)
        axis.plot((begin, end), (y, y), color=TEXT, linewidth=8)
        late = begin > 0.55 * timeline.duration
        axis.text(
            begin - 0.12 if late else end + 0.12, y, clause(timeline.script, event),
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


def closeness(waves: Callable[[Tensor, int], Tensor], to: Sequence[float], until: float) -> Figure:
    """How alike the vectors of two moments are, by the seconds between them.

    Args:
        waves: (B, T) seconds and a number of waves → (B, T, 2 · waves).
        to: moments to compare with, in seconds.
        until: the last of the moments.
    """
    figure, (axis,) = new_figure(9.5, 3.8)
    times = torch.linspace(0, until, 201)
    every = waves(times[None], 16)[0]
    for number, moment in enumerate(to):
        one = waves(torch.tensor([[moment]]), 16)[0, 0]
        alike = torch.cosine_similarity(every, one[None], dim=1)
        colour = (TIME_TEXT, TEXT, IMAGE)[number % 3]
        axis.plot(times, alike, "-" if number % 2 else "--", color=colour)
        name_line(axis, f"with {moment:g} s", (moment, 1.0), colour, (8, 6))
    axis.set(xlabel="time (s)", ylabel="cosine of two\nmoments' vectors", ylim=(-0.35, 1.2))
    return figure


def by_kind(told: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Right answers by kind of question, with 95 % intervals over questions.

    ``told``: who → kind → float (n,), 1 for right.
    """
    looks = (("o", GREY), ("s", IMAGE), ("^", COLOURS[4]), ("D", TEXT), ("v", TIME_TEXT))
    figure, (axis,) = new_figure(13, 4.8)
    shown = {who: answers.shares(marks) for who, marks in told.items()}
    answers.by_kind(axis, shown, looks, apart=0.17)
    axis.set_xlabel("kind of question")
    percent_axis(axis, "answered rightly (%)")
    legend_below(axis, len(told))
    return figure


def attention(timeline: Timeline, times: Sequence[float], looks: Tensor, own: int) -> Figure:
    """Where each query looks over time, below the frames.

    Args:
        timeline: the film.
        times: of its T frames, the middles of equal parts.
        looks: (Q, T + 1) shares of attention: the frames, and the aggregators' token.
        own: how many of the queries are those for images, which come first.
    """
    figure, (frames, map_) = new_figure(
        13, 7.2, rows=2, sharex=True, gridspec_kw={"height_ratios": (1, 2.4)}
    )
    on_axis(frames, timeline, times)
    frames.set(xlabel="")
    shares = 100 * looks[:, : len(times)]
    image = map_.imshow(
        shares.numpy(), aspect="auto", extent=(0, timeline.duration, len(looks) - 0.5, -0.5),
        vmin=0, interpolation="nearest",
    )  # fmt: skip
    map_.axhline(own - 0.5, color="white", linewidth=2)
    for event in timeline.events:
        map_.axvline(event.time, color="white", linestyle=":", linewidth=1.5)
    map_.set(xlabel="time (s); dotted: something happens", ylabel="query")
    map_.grid(False)
    figure.colorbar(image, ax=map_, label="share of its attention (%)", pad=0.01)
    return figure
