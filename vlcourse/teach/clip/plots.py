"""What the CLIP lecture measures of the loss and of training; its drawings are in figures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vlcourse.teach.clip.figures import OTHER, TEXT
from vlcourse.teach.drawing import new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def before_after(before: Tensor, after: Tensor, images: Tensor, captions: Sequence[str]) -> Figure:
    """Two (n, n) matrices of cosines on one colour scale: a row an image, a column a text.

    ``images``: (n, 3, H, W) uint8, shown beside their rows.
    """
    import textwrap

    n = len(captions)
    figure, axes = new_figure(13.5, 6.4, 4, width_ratios=(1, n, 1, n))
    for place, (values, title) in enumerate(((before, "untrained"), (after, "trained"))):
        strip, axis = axes[2 * place], axes[2 * place + 1]
        pictures = (
            images.permute(0, 2, 3, 1).flatten(0, 1).numpy()
        )  # (n·H, W, 3), one below another
        strip.imshow(pictures, extent=(0, 1, n, 0), aspect="auto", interpolation="nearest")
        strip.set(ylabel="images")
        shown = axis.imshow(values.numpy(), vmin=-1, vmax=1, cmap="viridis", aspect="auto")
        axis.set(title=title, xlabel="texts")
        axis.set_xticks(range(n), [textwrap.fill(c, 8) for c in captions], fontsize=10)
        for empty in (strip.set_xticks, strip.set_yticks, axis.set_yticks):
            empty([])
        strip.grid(False)
        axis.grid(False)
        for i, row in enumerate(values.tolist()):
            for j, value in enumerate(row):
                shade = "black" if value > 0.45 else "white"
                weight = "bold" if i == j else "normal"
                said = f"{value:.2f}"
                axis.text(j, i, said, ha="center", va="center", color=shade, weight=weight)
    figure.colorbar(shown, ax=list(axes), label="cosine similarity (no unit)", shrink=0.9)
    return figure


def temperature(similarity: Tensor, learned: float) -> Figure:
    """What exp(t) does: softmax of one row, gradient share of hard negatives, and the loss.

    ``similarity``: (N, N) cosines of a trained model, row i matching column i.
    ``learned``: the scale that it learned.
    """
    scales = torch.logspace(0, 2.5, 60)
    n = len(similarity)
    figure, axes = new_figure(14, 4.8, 3)
    order = similarity[0].argsort(descending=True)[:8]
    greys = ("#BDBDBD", "#7A7A7A", "#222222")
    for s, (scale, colour) in enumerate(zip((1.0, 1 / 0.07, 100.0), greys, strict=True)):
        probability = (scale * similarity[0]).softmax(dim=0)[order]
        places = np.arange(8) + 0.28 * (s - 1)
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
    shares: dict[str, list[float]] = {"the hardest": [], f"the hardest {n // 10}": []}
    losses = []
    for scale in scales:
        weight = (scale * negatives).softmax(dim=1)  # the negatives' part of d loss / d similarity
        for name, count in zip(shares, (1, n // 10), strict=True):
            shares[name].append(100 * float(weight[:, :count].sum(dim=1).mean()))
        rows = torch.nn.functional.cross_entropy(scale * similarity, torch.arange(n))
        columns = torch.nn.functional.cross_entropy(scale * similarity.T, torch.arange(n))
        losses.append(float(rows + columns) / 2)
    for (name, share), line, mark in zip(shares.items(), ("-", "--"), (37, 22), strict=True):
        axes[1].plot(scales, share, line, color=COLOURS[3])
        axes[1].annotate(
            name,
            (scales[mark], share[mark]),
            (10, -12) if line == "-" else (-8, 4),
            textcoords="offset points",
            ha="left" if line == "-" else "right",
            fontsize=12,
        )
    axes[1].set(
        title=f"who pushes? ({n - 1} negatives)", ylabel="share of the negatives' gradient (%)"
    )
    axes[2].plot(scales, losses, color="black")
    axes[2].set(title="the loss has a best scale", ylabel="loss (nats)", ylim=(0, None))
    for axis, y, va, ha in ((axes[1], 0.02, "bottom", "left"), (axes[2], 0.98, "top", "right")):
        axis.set(xscale="log", xlabel="scale exp(t) (log, no unit)")
        for at, name in ((1 / 0.07, "start"), (learned, f"learned: {learned:.0f}"), (100, "clip")):
            axis.axvline(at, color=OTHER, linestyle=":", linewidth=1.5)
            transform = axis.get_xaxis_transform()
            axis.text(at, y, f" {name} ", rotation=90, va=va, ha=ha, transform=transform)
    return figure


def training_log(log: Sequence[Mapping[str, float]], chance: float) -> Figure:
    """A shipped model's training: its loss on a log axis of steps, and its accuracy.

    ``log``: rows with "step" and "loss", some of which hold shares (0 to 1) by name too.
    ``chance``: the loss of a guess, log n.
    """
    figure, axes = new_figure(13, 4.6, 2)
    steps = [row["step"] for row in log]
    axes[0].plot(steps, [row["loss"] for row in log], color="black")
    axes[0].axhline(chance, color=OTHER, linestyle="--", linewidth=1.5)
    axes[0].text(steps[-1], chance, "guessing: log n", ha="right", va="bottom", fontsize=12)
    axes[0].set(
        xscale="log", xlabel="training step (log)", ylabel="loss of a batch (nats)", ylim=(0, None)
    )
    measured = [row for row in log if len(row) > 2]
    said = {"seen": "seen compositions", "heldout": "held-out compositions", "accuracy": "photos"}
    for name, colour, above in (
        ("seen", "black", 1),
        ("accuracy", "black", 1),
        ("heldout", TEXT, 0),
    ):
        if name not in measured[-1]:
            continue
        values = [100 * row[name] for row in measured]
        axes[1].plot([row["step"] for row in measured], values, "o-", color=colour)
        axes[1].annotate(
            said[name],
            (measured[-1]["step"], values[-1]),
            (0, 8 if above else -44),
            textcoords="offset points",
            color=colour,
            ha="right",
        )
    axes[1].set(xlabel="training step", ylabel="pictures named right (%)", ylim=(0, 112))
    axes[1].set_yticks(range(0, 101, 20))
    return figure


def batch_size(
    chance_loss: Mapping[int, float], recalls: Mapping[int, tuple[float, float, float]]
) -> Figure:
    """Loss of an untrained model by batch size, and recall@1 of a trained one by candidates.

    ``recalls``: candidates → (mean, low, high).
    """
    figure, axes = new_figure(12.5, 4.6, 2)
    sizes = np.array(list(chance_loss))
    axes[0].bar(range(len(sizes)), np.log(sizes), 0.6, color="#D9D9D9", label="log n")
    axes[0].bar(
        range(len(sizes)),
        np.array(list(chance_loss.values())) - np.log(sizes),
        0.6,
        np.log(sizes),
        color=COLOURS[4],
        label="untrained model: the rest",
    )
    for place, loss in enumerate(chance_loss.values()):
        axes[0].annotate(
            f"{loss:.2f}", (place, loss), (0, 4), textcoords="offset points", ha="center"
        )
    axes[0].set_xticks(range(len(sizes)), sizes)
    axes[0].set(xlabel="batch size n (pairs)", ylabel="loss (nats)", title="guessing costs log n")
    axes[0].legend(loc="upper left")
    axes[0].grid(False, axis="x")
    counts = np.array(list(recalls))
    mean, low, high = (100 * np.array([r[i] for r in recalls.values()]) for i in range(3))
    axes[1].errorbar(counts, mean, (mean - low, high - mean), fmt="o-", capsize=4, color="black")
    axes[1].text(counts[3], mean[3] + 5, "trained model", fontsize=12)
    axes[1].plot(counts, 100 / counts, "--", color=OTHER)
    axes[1].text(counts[2] * 0.8, 100 / counts[2] + 5, "chance 1/n", fontsize=12)
    axes[1].set(
        xscale="log",
        ylim=(0, 108),
        xlabel="candidates n (pictures, log)",
        ylabel="recall@1, text to image (%)",
        title="more candidates, harder question",
    )
    axes[1].set_xticks(counts, counts)
    axes[1].minorticks_off()
    return figure
