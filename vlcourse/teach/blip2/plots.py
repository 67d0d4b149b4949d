"""What the BLIP-2 lecture measures; its drawings are in figures.py."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlcourse.teach import answers
from vlcourse.teach.blip.figures import cells
from vlcourse.teach.blip2.figures import QUERY, name_cells
from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.drawing import GREY, legend_below, name_line, new_figure, percent_axis
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def looks(pictures: Sequence[Tensor], weights: Tensor, names: Sequence[str]) -> Figure:
    """Where each query looks: a row a picture, a column a query.

    ``pictures``: uint8 (3, H, W) each; ``weights``: (pictures, queries, g, g), each sums to 1.
    """
    rows, columns = len(pictures), weights.shape[1] + 1
    figure, axes = new_figure(1.6 * columns + 1.0, 1.75 * rows + 0.3, columns, rows=rows)
    grid, top = axes.reshape(rows, columns), float(weights.max())
    for picture, line, row in zip(pictures, weights, grid, strict=True):
        shown = picture.permute(1, 2, 0).numpy()
        side = shown.shape[0]
        row[0].imshow(shown, interpolation="nearest")
        for axis, each in zip(row[1:], line, strict=True):
            axis.imshow(shown, interpolation="nearest", alpha=0.45)
            drawn = axis.imshow(
                each.numpy(), cmap="magma", vmin=0, vmax=top, alpha=0.62,
                extent=(-0.5, side - 0.5, side - 0.5, -0.5), interpolation="nearest",
            )  # fmt: skip
        for axis in row:
            axis.axis("off")
    for axis, name in zip(grid[0], ("picture", *names), strict=True):
        axis.set_title(name, fontsize=13)
    figure.colorbar(drawn, ax=list(axes), label="attention (share)", shrink=0.8)
    return figure


def reached(seen: Mapping[str, Tensor], names: Sequence[str], queries: int) -> Figure:
    """What was changed (a column), and whose state then changes (a row), under each mask.

    ``seen``: a title → (S, S + 1) bool; the last column is the picture.
    """
    figure, axes = new_figure(4.9 * len(seen), 4.7, len(seen))
    size = len(names)
    for axis, (title, changed) in zip(axes, seen.items(), strict=True):
        cells(axis, 0, changed[:queries, :size], QUERY)
        cells(axis, 0, changed[queries:, :size], TEXT, queries)
        cells(axis, size + 0.5, changed[:, size:], IMAGE)
        name_cells(axis, names, [*names, "picture"], [*range(size), size + 0.5])
        said = "whose state changes" if axis is axes[0] else ""
        axis.set(xlabel="what was changed", ylabel=said, title=title)
    return figure


def speakers(picture: Tensor, cosines: Tensor, texts: Sequence[str]) -> Figure:
    """Which query speaks for a picture: (Q, texts) cosines, the best of each text framed."""
    figure, (first, axis) = new_figure(13, 4.6, 2, width_ratios=(0.45, 1))
    first.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
    first.axis("off")
    drawn = axis.imshow(cosines.numpy(), aspect="auto", cmap="viridis")
    best = cosines.argmax(dim=0).tolist()
    for column, row in enumerate(best):
        axis.text(column, row, "best", ha="center", va="center", fontsize=12, color="white",
                  bbox={"facecolor": "black", "alpha": 0.65, "edgecolor": "none"})  # fmt: skip
    names = [textwrap.fill(text, 16) for text in texts]
    axis.set_xticks(range(len(texts)), names, fontsize=12)
    axis.set_yticks(range(len(cosines)), [f"query {i + 1}" for i in range(len(cosines))])
    axis.grid(False)
    axis.set_ylabel("")
    figure.colorbar(drawn, ax=axis, label="cosine")
    return figure


def winners(counts: Tensor) -> Figure:
    """How often each query is the one that fits its picture's own text best, in %."""
    share = 100 * counts / counts.sum()
    figure, (axis,) = new_figure(8, 3.4)
    axis.bar(range(1, len(share) + 1), share.tolist(), color=QUERY)
    axis.axhline(100 / len(share), color=GREY, linestyle="--")
    top = float(share.max())
    axis.text(
        len(share) + 1.5, 100 / len(share) + 0.02 * top, "evenly", ha="right", va="bottom",
        fontsize=12,
    )  # fmt: skip
    axis.set(xlabel="query", ylabel="texts for which it speaks (%)", ylim=(0, 1.15 * top))
    axis.set_xlim(0.3, len(share) + 1.6)  # the line's name stands beside the bars, not on one
    axis.set_xticks(range(1, len(share) + 1))
    axis.grid(False, axis="x")
    return figure


def sizes(numbers: Mapping[str, int]) -> Figure:
    """How many numbers describe a picture, on a log axis."""
    figure, (axis,) = new_figure(10, 0.55 * len(numbers) + 1.3)
    places = range(len(numbers))[::-1]
    for place, (name, value) in zip(places, numbers.items(), strict=True):
        axis.plot(value, place, "o", markersize=13, color=QUERY if "quer" in name else IMAGE)
        axis.annotate(
            f"{value:,}", (value, place), (12, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(places, list(numbers))
    axis.set(xscale="log", xlabel="numbers a picture (log)", ylim=(-0.6, len(numbers) - 0.4))
    axis.set_xlim(min(numbers.values()) / 2, 5 * max(numbers.values()))
    return figure


def by_kind(told: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Right answers by kind of question, with 95 % intervals over questions.

    ``told``: who answers → kind → float (n,), 1 for right.
    """
    whole = {who: {**marks, "all": torch.cat([*marks.values()])} for who, marks in told.items()}
    return answered({who: answers.shares(marks) for who, marks in whole.items()})


def answered(shown: Mapping[str, Mapping[str, answers.Ends]], below: str = "") -> Figure:
    """Shares of right answers with their intervals: who → kind → (value, low, high), 0 to 1.

    The last kind stands apart: it is about all of them. ``below`` is written under the kinds.
    """
    looks_of = (("o", MATCH), ("s", COLOURS[4]), ("^", OTHER), ("v", OTHER), ("D", IMAGE))
    count = len(next(iter(shown.values())))
    figure, (axis,) = new_figure(12.5, 4.8)
    answers.by_kind(axis, shown, looks_of)
    axis.axvline(count - 1.5, color=GREY, linewidth=1)
    axis.set(xlabel=below, xlim=(-0.5, count - 0.5))
    percent_axis(axis, "answered right (%)")
    legend_below(axis, 3, 0.2 if below else 0.1)
    return figure


def voice(log: Sequence[Mapping[str, float]], levels: Mapping[str, float]) -> Figure:
    """The second stage's loss over its steps; ``levels``: lines to compare with, in nats."""
    figure, (axis,) = new_figure(8.5, 4.0)
    steps = [row["step"] for row in log]
    axis.plot(steps, [row["loss"] for row in log], color=TEXT, linewidth=2)
    name_line(axis, "with the picture", (steps[-1], log[-1]["loss"]), TEXT, (-6, -24))
    for name, level in levels.items():
        axis.axhline(level, color=GREY, linestyle="--", linewidth=1.5)
        axis.annotate(
            f"{name}: {level:.2f}", (steps[-1], level), (0, 7), textcoords="offset points",
            ha="right", fontsize=12,
        )  # fmt: skip
    top = max(*levels.values(), log[0]["loss"])
    axis.set(xlabel="training step", ylabel="loss (nats a token)", ylim=(0, 1.15 * top))
    return figure


def bindings(logs: Mapping[str, Sequence[Mapping[str, float]]], window: int = 100) -> Figure:
    """What runs lose on foils, over their steps: the mean of what is logged in ``window`` of them.

    The dashed line is ln 2, the loss of who tells a caption from its foil by chance.
    """
    figure, (axis,) = new_figure(9.5, 4.2)
    for (name, log), colour in zip(logs.items(), (IMAGE, QUERY, OTHER), strict=False):
        found: dict[int, list[float]] = {}
        for row in log:
            if "foils" in row:
                found.setdefault(-(-int(row["step"]) // window), []).append(row["foils"])
        steps = [window * place for place in found]
        lost = [sum(each) / len(each) for each in found.values()]
        axis.plot(steps, lost, color=colour, linewidth=2.5)
        name_line(axis, name, (steps[-1], lost[-1]), colour, (-4, 14))
    axis.axhline(math.log(2), color=GREY, linestyle="--", linewidth=1.5)
    axis.annotate(
        "chance", (1, math.log(2)), (-4, 6), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", fontsize=12,
    )  # fmt: skip
    axis.set(xlabel="training step", ylabel="loss of foils (nats)", ylim=(0, 0.85))
    return figure
