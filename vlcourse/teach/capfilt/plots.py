"""What captioner and filter do, in numbers that the lecture's cells compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from vlcourse.teach.capfilt.figures import DROPPED, KEPT, SYNTHETIC, WEB, printable
from vlcourse.teach.drawing import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Share = tuple[float, float, float]
"""A share with the ends of its interval, as fractions."""


def scores(
    by_kind: Mapping[str, Sequence[float]], true: Sequence[str], threshold: float = 0.5
) -> Figure:
    """A dot for each text at its probability of matching, a row for each kind of text.

    ``true``: the kinds whose texts are true; beside each row, the share that is kept.
    """
    figure, (axis,) = new_figure(10, 0.62 * len(by_kind) + 1.4)
    jitter = np.random.default_rng(0)
    for place, (kind, values) in enumerate(by_kind.items()):
        points = np.asarray(values)
        colour = KEPT if kind in true else WEB
        heights = -place + jitter.uniform(-0.28, 0.28, len(points))
        axis.scatter(points, heights, s=14, color=colour, alpha=0.6, linewidths=0)
        share = float((points > threshold).mean()) if len(points) else 0.0
        axis.text(1.03, -place, f"{100 * share:.0f} % kept", va="center", fontsize=12)
    axis.axvline(threshold, color="black", linestyle="--", linewidth=1.5)
    names = [f"{kind} ({'true' if kind in true else 'noise'})" for kind in by_kind]
    axis.set_yticks([-i for i in range(len(names))], names)
    axis.set(xlim=(-0.03, 1.18), xlabel="probability that text and picture match (filter)")
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axis.grid(False, axis="y")
    return figure


def sweep(series: Mapping[str, tuple[Tensor, Tensor]], threshold: float = 0.5) -> Figure:
    """Precision over recall as the threshold goes from 0 to 1, with a dot at the one that is used.

    ``series``: "web" and "synthetic" → (N,) probabilities, and (N,) bool whether the text is true.
    """
    figure, (axis,) = new_figure(8, 4.6)
    for name, (probability, true) in series.items():
        colour = WEB if name == "web" else SYNTHETIC
        order = probability.argsort(descending=True)
        hits = true[order].numpy().cumsum()
        precision = 100 * hits / np.arange(1, len(hits) + 1)
        recall = 100 * hits / max(hits[-1], 1)
        axis.plot(recall, precision, color=colour, label=f"{name} texts")
        last = int((probability > threshold).sum()) - 1
        if last >= 0:
            axis.plot(recall[last], precision[last], "o", color=colour, markersize=11)
    axis.set(
        xlabel="recall: true texts that are kept (%)",
        ylabel="precision: kept texts\nthat are true (%)",
    )
    axis.set(xlim=(0, 103), ylim=(0, 105))
    axis.legend(loc="lower left")  # the curves stay high until the right end
    return figure


def next_word(
    words: Sequence[str],
    model: Sequence[float],
    drawn: Sequence[float],
    said: str,
    picture: Tensor,
) -> Figure:
    """The likeliest next tokens: what the model gives them, and what they are drawn with.

    ``picture``: (3, H, W) uint8, which the text ``said`` is about.
    """
    figure, (shown, axis) = new_figure(11, 0.4 * len(words) + 1.5, 2, width_ratios=(1, 2.2))
    shown.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
    shown.set_title(f"“{said} …”", fontsize=12)
    shown.axis("off")
    for place, (before, after) in enumerate(zip(model, drawn, strict=True)):
        axis.barh(-place + 0.19, 100 * before, 0.36, color=DROPPED)
        axis.barh(-place - 0.19, 100 * after, 0.36, color=SYNTHETIC)
        if not after:
            axis.text(0.5, -place - 0.19, "outside", va="center", fontsize=10, color=DROPPED)
    named = [f"“{word}”" if (word := printable(each).strip()) else "(no word)" for each in words]
    axis.set_yticks([-i for i in range(len(words))], named)
    axis.set(xlabel="probability (%)")
    axis.set_title("grey: the model; purple: what is drawn from", fontsize=12)
    axis.grid(False, axis="y")
    return figure


def shares(values: Mapping[str, Share], xlabel: str, colours: Mapping[str, str]) -> Figure:
    """Bars with 95 % intervals, as they are given from top to bottom."""
    figure, (axis,) = new_figure(10, 0.6 * len(values) + 1.2)
    for place, (name, each) in enumerate(values.items()):
        mean, low, high = (100 * value for value in each)
        error = [[max(mean - low, 0)], [max(high - mean, 0)]]
        axis.barh(-place, mean, 0.62, xerr=error, capsize=5, color=colours.get(name, WEB))
        axis.annotate(
            f"{mean:.0f}", (high, -place), (6, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks([-i for i in range(len(values))], list(values))
    axis.set(xlim=(0, 112), xlabel=xlabel)
    axis.set_xticks(range(0, 101, 20))
    axis.grid(False, axis="y")
    return figure


def verdicts(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """How many texts of each kind were kept and dropped: name → {"kept", "dropped"}."""
    figure, (axis,) = new_figure(10, 0.5 * len(counts) + 1.5)
    for place, each in enumerate(counts.values()):
        axis.barh(-place, each["kept"], 0.62, color=KEPT, label="kept" if not place else None)
        axis.barh(
            -place, each["dropped"], 0.62, left=each["kept"], color=DROPPED,
            label="dropped" if not place else None,
        )  # fmt: skip
        total = each["kept"] + each["dropped"]
        axis.annotate(
            f"{100 * each['kept'] / max(total, 1):.0f} % kept", (total, -place), (6, 0),
            textcoords="offset points", va="center", fontsize=12,
        )  # fmt: skip
    axis.set_yticks([-i for i in range(len(counts))], list(counts))
    axis.set(xlabel="texts")
    axis.margins(x=0.16)
    axis.legend(loc="upper right")
    axis.grid(False, axis="y")
    return figure
