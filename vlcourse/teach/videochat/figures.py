"""The drawn figures of the VideoChat lecture; what it measures is in plots.py.

Blue is what sees, orange-red are words, purple is what looks over time; grey, with a hatched edge,
is frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vlcourse.teach.adapter.figures import PROMPT as TIME
from vlcourse.teach.adapter.figures import PROMPT_TEXT as TIME_TEXT
from vlcourse.teach.clip.figures import IMAGE, MATCH, TEXT
from vlcourse.teach.drawing import GREY, arrow, box, canvas, frozen, new_figure
from vlcourse.teach.drawing import image as draw_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def systems() -> Figure:
    """The paper's two systems, from the video to the answer."""
    figure, (upper, lower) = new_figure(13.5, 7.0, rows=2)
    canvas(upper, 30, 7)
    upper.set_title("VideoChat-Text: nothing is trained", fontsize=14)
    for row, tool in enumerate(("captions", "tags", "things, boxes", "subtitles")):
        y = 5.3 - 1.55 * row
        frozen(upper, 5.2, y, 5.2, 1.3, tool)
        arrow(upper, (3.7, 3.5), (5.1, y + 0.65))
        arrow(upper, (10.5, y + 0.65), (12.5, 3.5))
    box(upper, 12.6, 2.6, 5.6, 1.8, "one text\nwith times", TEXT, 13)
    frozen(upper, 20.6, 2.6, 4.2, 1.8, "LLM")
    canvas(lower, 30, 7)
    lower.set_title("VideoChat-Embed: what is not hatched is trained", fontsize=14)
    for x, width, name, colour in (
        (4.6, 3.2, "image\ntower", ""),
        (8.8, 3.2, "GMHRA", TIME),
        (13.0, 3.2, "Q-Former", ""),
        (17.2, 3.0, "linear\nmap", MATCH),
        (21.2, 3.6, "LLM", ""),
    ):
        if colour:
            box(lower, x, 2.6, width, 1.8, name, colour, 13)
        else:
            frozen(lower, x, 2.6, width, 1.8, name)
        arrow(lower, (x - 0.9, 3.5), (x - 0.1, 3.5))
    box(lower, 13.0, 5.4, 3.2, 1.2, "+ queries", TIME, 13)
    arrow(lower, (14.6, 5.3), (14.6, 4.5))
    for axis, left in ((upper, 22.7), (lower, 23.0)):
        box(axis, 0.3, 2.6, 3.3, 1.8, "video", IMAGE, 13)
        axis.text(left, 0.4, "the question", ha="center", color=TEXT, fontsize=13)
        arrow(axis, (left, 1.1), (left, 2.5))
        arrow(axis, (24.9, 3.5), (26.0, 3.5))
        axis.text(26.2, 3.5, "the answer", va="center", color=MATCH, fontsize=13)
    arrow(upper, (18.3, 3.5), (20.5, 3.5))
    return figure


def relations(frames: Sequence[Tensor], grid: int = 4) -> Figure:
    """Which tokens meet which: the local aggregator's three, and the global one's all.

    Args:
        frames: four uint8 (3, S, S), in the order of time.
        grid: places along an edge of a frame.
    """
    heights = (4.3, 6.2)
    from matplotlib.patches import Rectangle

    figure, (upper, lower) = new_figure(12.5, 6.6, rows=2, height_ratios=heights)
    side, step = 3.2, 4.4
    cell = side / grid
    for axis, height in zip((upper, lower), heights, strict=True):
        canvas(axis, 24, height)
        for number, frame in enumerate(frames):
            x = 5.4 + step * number
            draw_image(axis, frame, x, 0.6, side)
            for line in range(grid + 1):
                axis.plot(
                    (x + line * cell,) * 2, (0.6, 0.6 + side), color="white", lw=0.8, zorder=3
                )
                axis.plot((x, x + side), (0.6 + line * cell,) * 2, color="white", lw=0.8, zorder=3)
            axis.text(
                x + side / 2, 0.05, f"frame {number + 1}", ha="center", va="center", fontsize=13
            )
    corners = [5.4 + step * number for number in range(len(frames))]
    upper.set_title(
        "local: a place, and the same place in the frames before and after", fontsize=14
    )
    place, half = (1 * cell, 2 * cell), cell / 2
    for x in corners[1:]:
        corner = x + place[0], 0.6 + place[1]
        upper.add_patch(
            Rectangle(corner, cell, cell, edgecolor=TIME_TEXT, facecolor="none", lw=3.5, zorder=5)
        )
    top = 0.6 + place[1] + cell
    for x, bend in ((corners[1], -0.35), (corners[3], 0.35)):
        end = corners[2] + place[0] + half * (0.7 if bend < 0 else 1.3)
        _bow(upper, (x + place[0] + half, top), (end, top), bend)
    lower.set_title("global: one token, and every place of every frame", fontsize=14)
    box(lower, 0.5, 1.4, 3.2, 1.6, "one token", TIME, 14)
    for left in corners:
        for row in range(grid):
            for column in range(grid):
                point = left + cell * (column + 0.5), 0.6 + cell * (row + 0.5)
                lower.plot(*point, "o", color=TIME, markersize=6, zorder=5, mec="white", mew=0.6)
        _bow(lower, (left + side / 2, 0.6 + side), (2.1, 3.1), 0.28)
    return figure


def _bow(axis: Axes, start: tuple[float, float], end: tuple[float, float], bend: float) -> None:
    """A bent arrow."""
    style = {"arrowstyle": "-|>", "linewidth": 2.4, "color": TIME_TEXT, "mutation_scale": 18}
    bent = style | {"connectionstyle": f"arc3,rad={bend}"}
    axis.annotate("", end, start, zorder=6, arrowprops=bent)


def aggregator() -> Figure:
    """GMHRA on a frozen tower (UniFormerV2, figure 2, as VideoChat uses it), and what one does."""
    figure, (left, right) = new_figure(13.5, 6.4, 2, width_ratios=(1, 1.1))
    canvas(left, 16, 13)
    left.set_title("one token, handed on from block to block", fontsize=14)
    rows = ("blocks 1 to 31", "block 32", "block 33", "…", "block 39")
    for row, name in enumerate(rows):
        y = 1.6 + 1.95 * row
        if name == "…":
            for x in (3.9, 12.3):
                left.text(x, y + 0.7, "…", ha="center", va="center", fontsize=18)
            continue
        frozen(left, 1.2, y, 5.4, 1.4, name)
        if row:
            box(left, 10.2, y, 4.2, 1.4, "look at all", TIME, 12)
            arrow(left, (6.7, y + 0.7), (10.1, y + 0.7))
    for row in range(4):
        y = 1.6 + 1.95 * row + 1.45
        arrow(left, (3.9, y), (3.9, y + 0.5))
        if row:
            arrow(left, (12.3, y), (12.3, y + 0.5))
    box(left, 10.9, 1.6, 2.8, 1.4, "zeros", GREY, 12)
    arrow(left, (12.3, 3.05), (12.3, 3.5))
    left.text(3.9, 0.5, "frames, each by itself", ha="center", color=IMAGE, fontsize=13)
    arrow(left, (3.9, 0.9), (3.9, 1.5))
    for x, said in ((3.9, "T · N tokens,\nunchanged"), (12.3, "one token")):
        arrow(left, (x, 10.9), (x, 11.4))
        left.text(x, 12.0, said, ha="center", va="center", color=TIME_TEXT if x > 9 else IMAGE,
                  fontsize=13)  # fmt: skip
    canvas(right, 18, 13)
    right.set_title("inside “look at all”", fontsize=14)
    for x, y, width, said, colour in (
        (0.4, 1.6, 7.2, "norm, + positions (3 × 3 × 3)", TIME),
        (0.4, 3.8, 7.2, "keys and values", TIME),
        (10.0, 1.6, 4.4, "norm", TIME),
        (10.0, 3.8, 4.4, "query", TIME),
        (4.2, 6.0, 8.4, "softmax over all T · N tokens", TIME),
        (10.0, 8.0, 4.4, "out: 0 at first", MATCH),
        (10.0, 10.6, 4.4, "MLP: 0 at first", MATCH),
    ):
        box(right, x, y, width, 1.4, said, colour, 12)
    for x, low, high in ((4.0, 0.9, 1.5), (12.2, 0.9, 1.5), (4.0, 3.05, 3.7), (12.2, 3.05, 3.7)):
        arrow(right, (x, low), (x, high))
    arrow(right, (4.0, 5.25), (6.2, 5.9))
    arrow(right, (12.2, 5.25), (10.8, 5.9))
    arrow(right, (10.6, 7.45), (11.6, 7.9))
    right.text(4.0, 0.4, "T · N tokens", ha="center", color=IMAGE, fontsize=13)
    right.text(12.2, 0.4, "the token", ha="center", color=TIME_TEXT, fontsize=13)
    for y in (9.95, 12.4):
        right.text(12.2, y, "+", ha="center", va="center", fontsize=22)
    for xs, ys, end in (
        ((12.2, 16.4, 16.4), (1.25, 1.25, 9.95), (12.7, 9.95)),
        ((11.8, 8.4, 8.4), (9.95, 9.95, 12.4), (11.7, 12.4)),
    ):
        right.plot(xs, ys, color="#444444", linewidth=2)
        arrow(right, (xs[-1], ys[-1]), end)
    right.text(16.7, 5.6, "the token as it was", rotation=90, va="center", fontsize=12)
    right.text(8.1, 11.2, "again", rotation=90, ha="right", va="center", fontsize=12)
    return figure
