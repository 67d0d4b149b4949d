"""The plots of the CLIP lecture's measurements; its drawings are in figures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.drawing import new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def before_after(before: Tensor, after: Tensor, captions: Sequence[str]) -> Figure:
    """Two (n, n) matrices of cosines, image by text, on one colour scale."""
    import textwrap

    figure, axes = new_figure(13, 5.6, 2, sharey=True)
    titles = ("untrained", "trained")
    for axis, values, title in zip(axes, (before, after), titles, strict=True):
        picture = axis.imshow(values.numpy(), vmin=-1, vmax=1, cmap="viridis", aspect="auto")
        axis.set(title=title, xlabel="image")
        axis.set_xticks(range(len(captions)), range(1, len(captions) + 1))
        axis.grid(False)
        for i in range(len(captions)):
            for j in range(len(captions)):
                value = float(values[i, j])
                shade = "black" if value > 0.45 else "white"
                axis.text(
                    j, i, f"{value:.2f}", ha="center", va="center", color=shade, fontsize=10.5
                )
    wrapped = [f"{textwrap.fill(c, 30)}  {i}" for i, c in enumerate(captions, 1)]
    axes[0].set_yticks(range(len(captions)), wrapped, fontsize=11)
    axes[0].set_ylabel("text")
    figure.colorbar(picture, ax=list(axes), label="cosine similarity (no unit)", shrink=0.9)
    return figure


def temperature(similarity: Tensor, learned: float) -> Figure:
    """What exp(t) does: softmax of one row, gradient share of hard negatives, and the loss.

    ``similarity``: (N, N) cosines of a trained model, row i matching column i.
    ``learned``: the scale that it learned.
    """
    scales = torch.logspace(0, 2.5, 60)
    n = len(similarity)
    figure, axes = new_figure(14, 4.4, 3)
    order = similarity[0].argsort(descending=True)[:8]
    for scale, colour, shift in ((1.0, OTHER, -0.28), (1 / 0.07, IMAGE, 0), (100.0, TEXT, 0.28)):
        probability = (scale * similarity[0]).softmax(dim=0)[order]
        places = np.arange(8) + shift
        axes[0].bar(places, 100 * probability, width=0.28, color=colour, label=f"scale {scale:.3g}")
    axes[0].set(
        title="one image against all texts",
        xlabel="texts, most similar first",
        ylabel="softmax probability (%)",
    )
    axes[0].set_xticks(range(8), range(1, 9))
    axes[0].legend()

    negatives = similarity[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)
    negatives = negatives.sort(dim=1, descending=True).values
    shares: dict[str, list[float]] = {"hardest": [], "hardest tenth": []}
    losses = []
    for scale in scales:
        weight = (scale * negatives).softmax(dim=1)  # the negatives' part of d loss / d similarity
        shares["hardest"].append(float(weight[:, 0].mean()))
        shares["hardest tenth"].append(float(weight[:, : n // 10].sum(dim=1).mean()))
        rows = torch.nn.functional.cross_entropy(scale * similarity, torch.arange(n))
        columns = torch.nn.functional.cross_entropy(scale * similarity.T, torch.arange(n))
        losses.append(float(rows + columns) / 2)
    for (name, share), line in zip(shares.items(), ("-", "--"), strict=True):
        axes[1].plot(scales, [100 * s for s in share], line, color=TEXT, label=name)
    axes[1].set(
        title=f"who pushes? ({n - 1} negatives)", ylabel="share of the negatives' gradient (%)"
    )
    axes[2].plot(scales, losses, color=IMAGE)
    axes[2].set(title="the loss has a best scale", ylabel="loss (nats)", ylim=(0, None))
    marks = ((1 / 0.07, ":", "start 1/0.07"), (learned, "-", f"learned {learned:.0f}"))
    for axis in axes[1:]:
        axis.set(xscale="log", xlabel="scale exp(t) (no unit)")
        for at, line, name in (*marks, (100, "--", "clip at 100")):
            label = name if axis is axes[2] else None
            axis.axvline(at, color="black", linestyle=line, linewidth=1.3, label=label)
    axes[1].legend(loc="upper left", handlelength=1.5, fontsize=11)
    axes[2].legend()
    return figure


def batch_size(
    chance_loss: Mapping[int, float], recalls: Mapping[int, tuple[float, float, float]]
) -> Figure:
    """Loss of an untrained model by batch size, and recall@1 of a trained one by candidates.

    ``recalls``: candidates → (mean, low, high).
    """
    figure, axes = new_figure(12, 4.4, 2)
    sizes = np.array(list(chance_loss))
    axes[0].plot(sizes, np.log(sizes), "--", color=OTHER, label="log N")
    axes[0].plot(sizes, list(chance_loss.values()), "o", color=IMAGE, label="untrained model")
    axes[0].set(
        xscale="log",
        xlabel="batch size N (pairs)",
        ylabel="loss (nats)",
        title="guessing costs log N",
    )
    counts = np.array(list(recalls))
    mean, low, high = (100 * np.array([r[i] for r in recalls.values()]) for i in range(3))
    axes[1].errorbar(
        counts, mean, (mean - low, high - mean), fmt="o-", capsize=4, color=TEXT, label="trained"
    )
    axes[1].plot(counts, 100 / counts, "--", color=OTHER, label="chance 1/N")
    axes[1].set(
        xscale="log",
        ylim=(0, 105),
        xlabel="candidates N (pictures)",
        ylabel="recall@1, text to image (%)",
        title="more candidates, harder question",
    )
    for axis, ticks in zip(axes, (sizes, counts), strict=True):
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
        axis.legend()
    return figure


def best_classes(
    images: Tensor, probabilities: Tensor, names: Sequence[str], best: int = 4
) -> Figure:
    """Pictures (n, 3, H, W), each beside the classes that it most probably shows."""
    n = len(images)
    figure, axes = new_figure(4.2 * n, 3.6, 2 * n, width_ratios=(1, 1) * n)
    for i in range(n):
        axes[2 * i].imshow(images[i].permute(1, 2, 0).numpy(), interpolation="nearest")
        axes[2 * i].axis("off")
        values, index = probabilities[i].topk(best)
        axis = axes[2 * i + 1]
        places = np.arange(best)[::-1]
        axis.barh(places, 100 * values, color=[MATCH, *[OTHER] * (best - 1)], height=0.45)
        for place, name in zip(places, index.tolist(), strict=True):
            axis.text(0, place + 0.27, names[name], va="bottom", fontsize=12)
        axis.set_yticks([])
        axis.set(xlim=(0, 105), ylim=(-0.5, best - 0.2), xlabel="probability (%)")
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
                color=COLOURS[s],
                label=name if g == 0 else None,
            )
            axis.annotate(f"{mean:.0f}", (x, high), (0, 3), textcoords="offset points", ha="center")
    axis.axhline(100 * chance, color="black", linestyle="--", linewidth=1.5, label="chance")
    axis.set_xticks(range(len(values)), list(values))
    axis.set(ylabel=ylabel, ylim=(0, 118))
    axis.set_yticks(range(0, 101, 20))
    axis.legend(loc="upper center", ncols=len(series) + 1, bbox_to_anchor=(0.5, 1.14))
    axis.grid(False, axis="x")
    return figure
