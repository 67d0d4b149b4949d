"""What a trained CLIP answers: classes, ranks and foils, with intervals over the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vlcourse.data import world
from vlcourse.evals import metrics
from vlcourse.teach.clip.figures import MATCH, OTHER
from vlcourse.teach.drawing import new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def paint(name: str) -> str:
    """The colour that a class of the toy world names, as matplotlib writes it."""
    return "#{:02x}{:02x}{:02x}".format(*world.RGB[name])


def best_classes(images: Tensor, probabilities: Tensor, labels: Tensor, best: int = 4) -> Figure:
    """Pictures of the toy world (n, 3, H, W), each beside the classes that it most probably shows.

    A bar has the colour that its class names; ``labels``: (n,), a tick marks the right class.
    """
    n = len(images)
    figure, axes = new_figure(4.4 * n, 3.8, 2 * n, width_ratios=(1, 1.2) * n)
    for i in range(n):
        axes[2 * i].imshow(images[i].permute(1, 2, 0).numpy(), interpolation="nearest")
        axes[2 * i].axis("off")
        values, index = probabilities[i].topk(best)
        axis = axes[2 * i + 1]
        for place, (value, c) in enumerate(zip(values.tolist(), index.tolist(), strict=True)):
            colour, shape = world.CLASSES[c]
            right = c == int(labels[i])
            axis.barh(-place, 100 * value, 0.42, color=paint(colour), edgecolor="black")
            said = f"{colour} {shape}  {100 * value:.0f} %" + ("  ✓" if right else "")
            weight = "bold" if right else "normal"
            axis.text(1, 0.25 - place, said, va="bottom", fontsize=12, weight=weight)
        axis.set_yticks([])
        axis.set(xlim=(0, 105), ylim=(0.3 - best, 0.75), xlabel="probability (%)")
        axis.grid(False, axis="y")
    return figure


def ranked(
    hits: Mapping[str, Tensor],
    chance: float,
    xlabel: str,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Bars from best to worst with 95 % intervals; ``hits``: name → ones and zeros, (n,)."""
    figure, (axis,) = new_figure(9, 0.42 * len(hits) + 1.3)
    order = sorted(hits, key=lambda name: -float(hits[name].mean()))
    for place, name in enumerate(order):
        mean = 100 * float(hits[name].mean())
        low, high = (100 * end for end in metrics.bootstrap_interval(hits[name]))
        error = [[max(mean - low, 0)], [max(high - mean, 0)]]
        colour = (colours or {}).get(name, OTHER)
        axis.barh(-place, mean, 0.65, xerr=error, capsize=4, color=colour, edgecolor="black")
        said = f"{mean:.0f} ({len(hits[name])})"
        axis.annotate(said, (high, -place), (6, 0), textcoords="offset points", va="center")
    axis.axvline(100 * chance, color="black", linestyle="--", linewidth=1.5)
    axis.set_yticks([-i for i in range(len(order))], order)
    axis.set(xlim=(0, 116), xlabel=f"{xlabel}; in brackets: how many")
    axis.set_xticks(range(0, 101, 20))
    axis.grid(False, axis="y")
    return figure


def retrieval(queries: Sequence[str], images: Tensor, order: Tensor, own: Sequence[int]) -> Figure:
    """A row a query: the pictures found, best first; the query's own picture has a green frame.

    ``images``: (N, 3, H, W) uint8; ``order``: (Q, K) indices; ``own``: each query's right index.
    """
    import textwrap

    import matplotlib.pyplot as plt

    rows, columns = order.shape
    figure, axes = plt.subplots(
        rows,
        columns + 1,
        figsize=(3.0 + 1.6 * columns, 1.65 * rows + 0.4),
        width_ratios=(1.9, *[1] * columns),
        layout="constrained",
        squeeze=False,
    )
    plt.close(figure)
    for row, query in enumerate(queries):
        axes[row, 0].axis("off")
        axes[row, 0].text(0, 0.5, textwrap.fill(query, 24), va="center", fontsize=12)
        for column in range(columns):
            axis = axes[row, column + 1]
            index = int(order[row, column])
            axis.imshow(images[index].permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set(visible=index == own[row], color=MATCH, linewidth=5)
            if row == 0:
                axis.set_title(f"rank {column + 1}", fontsize=12)
    return figure


def groups(
    values: Mapping[str, Mapping[str, tuple[float, float, float]]], chance: float, ylabel: str
) -> Figure:
    """Grouped bars with intervals: group → series → (mean, low, high), as fractions."""
    series = list(next(iter(values.values())))
    figure, (axis,) = new_figure(9, 4.5)
    width = 0.8 / len(series)
    shades = ("#C9C9C9", "#8C8C8C", "#3C3C3C") if len(series) > 1 else (COLOURS[4],)
    for s, name in enumerate(series):
        for g, group in enumerate(values.values()):
            mean, low, high = (100 * v for v in group[name])
            x = g + (s - (len(series) - 1) / 2) * width
            error = [[max(mean - low, 0)], [max(high - mean, 0)]]
            axis.bar(
                x,
                mean,
                width * 0.92,
                yerr=error,
                capsize=5,
                color=shades[s],
                label=name if g == 0 else None,
            )
            axis.annotate(f"{mean:.0f}", (x, high), (0, 3), textcoords="offset points", ha="center")
    axis.axhline(100 * chance, color="black", linestyle="--", linewidth=1.5, label="chance")
    axis.set_xticks(range(len(values)), list(values))
    axis.set(ylabel=ylabel, ylim=(0, 118))
    axis.set_yticks(range(0, 101, 20))
    if len(series) > 1:
        axis.legend(loc="upper center", ncols=len(series) + 1, bbox_to_anchor=(0.5, 1.14))
    else:
        axis.text(len(values) - 0.5, 100 * chance, " chance", va="center", fontsize=12)
    axis.grid(False, axis="x")
    return figure
