"""Figures of LLaMA's three changes: the norm, the gate and the rotation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.rotary import rotate, rotations
from vlcourse.teach.drawing import canvas, name_line, new_figure
from vlcourse.teach.llama.figures import ATTENTION, LLAMA, ORANGE, OTHER, PURPLE, STREAM
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def stability(
    losses: Mapping[str, Sequence[float]], rates: Sequence[float], ignorant: float
) -> Figure:
    """Loss after a short training, by learning rate; a line a way to norm.

    ``ignorant``: the loss of a model that knows how frequent each token is, and no more.
    """
    figure, (axis,) = new_figure(9, 4.4)
    looks = ((ATTENTION, "o--", 1), (OTHER, "s-", 3), (LLAMA, "^-", 1))  # the last hides the second
    for (name, values), (colour, line, wide) in zip(losses.items(), looks, strict=False):
        pale = 0.5 if wide > 1 else 1.0
        axis.plot(
            rates, values, line, color=colour, label=name, alpha=pale, markersize=6 + 3 * wide,
            linewidth=2 * wide,
        )  # fmt: skip
    axis.axhline(ignorant, color="black", linewidth=1.5, label="token frequencies alone")
    axis.set(
        xscale="log", xlabel="learning rate (no unit, log scale)", ylabel="loss (nats a token)"
    )
    axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axis.minorticks_off()
    axis.legend(loc="lower left")
    return figure


def norms(vectors: Tensor, layer: Tensor, rms: Tensor) -> Figure:
    """Vectors of two channels before and after LayerNorm and RMSNorm, each in its own colour.

    ``vectors``, ``layer``, ``rms``: (n, 2).
    """
    figure, axes = new_figure(13, 4.6, 3)
    titles = ("vectors (x₁, x₂)", "LayerNorm: two points are left", "RMSNorm: a circle")
    angle = np.arctan2(vectors[:, 1].numpy(), vectors[:, 0].numpy())
    for axis, points, title in zip(axes, (vectors, layer, rms), titles, strict=True):
        turn = np.linspace(0, 2 * np.pi, 100)
        radius = math.sqrt(2)
        if axis is not axes[0]:
            axis.plot(radius * np.cos(turn), radius * np.sin(turn), color="#BBBBBB", linewidth=1.5)
        dots = axis.scatter(
            points[:, 0].numpy(), points[:, 1].numpy(), c=np.degrees(angle), cmap="twilight",
            s=60, vmin=-180, vmax=180, edgecolors="black", linewidths=0.5, zorder=3,
        )  # fmt: skip
        limit = 3.2 if axis is axes[0] else 2.0
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", title=title)
        axis.set(xlabel="channel 1 (no unit)", ylabel="channel 2 (no unit)")
    figure.colorbar(
        dots, ax=list(axes), label="direction of the vector (°)", ticks=[-180, 0, 180], shrink=0.8
    )
    return figure


def activations() -> Figure:
    """ReLU, GELU and SiLU as curves; a neuron of an MLP and a gated one, as maps of two inputs."""
    figure, axes = new_figure(14, 4.5, 3, width_ratios=(1.15, 1, 1))
    x = torch.linspace(-4, 4, 200)
    for name, function, colour, line, at, away in (
        ("ReLU", F.relu, OTHER, ":", 1.5, (-10, 6)),
        ("GELU", F.gelu, ATTENTION, "--", -1.0, (-25, 60)),
        ("SiLU = Swish", F.silu, LLAMA, "-", 1.0, (12, -6)),
    ):
        axes[0].plot(x, function(x), line, color=colour)
        height = function(torch.tensor(at)).item()
        name_line(axes[0], name, (at, height), colour, away, pointer=name == "GELU")
    axes[0].set(xlabel="input (no unit)", ylabel="output (no unit)", title="three curves")
    a, b = torch.meshgrid(x, x, indexing="xy")
    for axis, values, title, xlabel, ylabel in (
        (axes[1], F.relu(a), "MLP: one neuron, ReLU(a)", "a = w₁·x", "b: not looked at"),
        (axes[2], F.silu(a) * b, "gated: SiLU(a) · b", "a = w₁·x (the gate)", "b = w₃·x"),
    ):
        picture = axis.contourf(
            x, x, values, levels=np.linspace(-16, 16, 33), cmap="PuOr_r", extend="both"
        )
        axis.contour(x, x, values, levels=[0.0], colors="black", linewidths=1)
        axis.set(title=title, xlabel=xlabel, ylabel=ylabel, aspect="equal")
        axis.grid(False)
    figure.colorbar(picture, ax=list(axes[1:]), label="output (no unit)", ticks=[-16, -8, 0, 8, 16])
    return figure


def learned(losses: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Training curves of several feed-forward layers: target → layer → loss at each step."""
    figure, axes = new_figure(6.2 * len(losses), 4.2, len(losses))
    looks = ((OTHER, ":"), (ATTENTION, "--"), (LLAMA, "-"))
    for axis, (target, layers) in zip(axes, losses.items(), strict=True):
        for (name, values), (colour, line) in zip(layers.items(), looks, strict=False):
            smooth = np.convolve(values, np.ones(10) / 10, mode="valid")
            steps = np.arange(len(smooth)) + 10
            axis.plot(steps, smooth, line, color=colour, label=name)
        axis.set(yscale="log", xlabel="training step", title=target)
    axes[0].set_ylabel("mean squared error (no unit, log)")
    axes[0].legend()
    return figure


def two_thirds(width: int = 4096) -> Figure:
    """The matrices of an MLP and of a SwiGLU as rectangles to scale; both have the same area."""
    from matplotlib.patches import Rectangle

    figure, axes = new_figure(13, 2.9, 2)
    for axis, hidden, names, colour, title in (
        (axes[0], 4.0, ("up", "down"), STREAM, "MLP: hidden 4d"),
        (axes[1], 8 / 3, ("gate", "up", "down"), LLAMA, "SwiGLU: hidden (2/3)·4d = 8d/3"),
    ):
        canvas(axis, 11, 3.0)
        for number, name in enumerate(names):
            x = 0.6 + number * (hidden + 0.6)
            axis.add_patch(
                Rectangle((x, 1.4), hidden, 1, facecolor=colour + "55", edgecolor=colour, lw=2)
            )
            axis.text(x + hidden / 2, 1.9, name, ha="center", va="center", fontsize=14)
            axis.text(x + hidden / 2, 1.3, "4d" if hidden == 4 else "8d/3", ha="center", va="top")
        axis.text(0.45, 1.9, "d", ha="right", va="center")
        count = len(names) * hidden * width**2
        said = f"{len(names)} × {'4' if hidden == 4 else '8/3'} d² = 8 d²"
        axis.text(5.4, 0.35, f"{said} = {count / 1e6:,.0f} M for d = {width}", ha="center")
        axis.set_title(title)
    return figure


def rotation(width: int = 8, positions: Sequence[int] = (0, 1, 2, 3)) -> Figure:
    """How the pairs of channels turn with the position: fast in the first, hardly in the last."""
    pairs = width // 2
    figure, axes = new_figure(3.4 * pairs, 4.4, pairs)
    turned = rotate(
        torch.tensor([1.0, 0.0]).repeat(pairs).expand(1, 1, len(positions), width),
        rotations(torch.tensor(positions), width),
    )[0, 0]
    speeds = [10_000 ** (-2 * j / width) for j in range(pairs)]
    for pair, axis in enumerate(axes):
        circle = np.linspace(0, 2 * np.pi, 200)
        axis.plot(np.cos(circle), np.sin(circle), color="#BBBBBB", linewidth=1.5)
        for row, position in enumerate(positions):
            x, y = turned[row, 2 * pair : 2 * pair + 2].tolist()
            axis.annotate(
                "", (x, y), (0, 0),
                arrowprops={"arrowstyle": "-|>", "lw": 2.5, "color": COLOURS[row], "shrinkB": 0},
            )  # fmt: skip
            if pair == 0:
                axis.plot([], [], color=COLOURS[row], label=f"position {position}")
        axis.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", xlabel=f"channel {2 * pair}")
        axis.set_ylabel(f"channel {2 * pair + 1}")
        axis.set_title(f"pair {pair}: {speeds[pair]:g} rad a token")
        axis.set_xticks([-1, 0, 1])
        axis.set_yticks([-1, 0, 1])
    figure.legend(loc="outside lower center", ncols=len(positions))
    return figure


def relative(scores: Mapping[str, Tensor]) -> Figure:
    """Dot products of one query and one key, by both positions: constant along diagonals or not.

    ``scores``: name → (L, L), row = position of the query, column = of the key.
    """
    figure, axes = new_figure(6.2 * len(scores), 5.0, len(scores), sharey=True)
    limit = max(float(s.abs().max()) for s in scores.values())
    for axis, (name, values) in zip(axes, scores.items(), strict=True):
        picture = axis.imshow(values.numpy(), cmap="PuOr_r", vmin=-limit, vmax=limit)
        axis.set(title=name, xlabel="position of the key (tokens)")
        axis.grid(False)
    axes[0].set_ylabel("position of the query (tokens)")
    figure.colorbar(picture, ax=list(axes), label="q · k (no unit)", shrink=0.85)
    return figure


def wavelengths(width: int = 128, context: int = 2048) -> Figure:
    """Tokens for one full turn of each pair, beside the context of the training."""
    pairs = np.arange(width // 2)
    length = 2 * np.pi * 10_000 ** (2 * pairs / width)
    seen = length <= context
    figure, (axis,) = new_figure(10, 4.6)
    axis.plot(pairs[seen], length[seen], "o", color=LLAMA, markersize=5, label="full turns seen")
    axis.plot(pairs[~seen], length[~seen], "s", color=ATTENTION, markersize=5,
              label="not one full turn seen in training")  # fmt: skip
    axis.axhline(context, color="black", linestyle="--", linewidth=1.5)
    axis.text(0, context * 1.15, f"context of the training: {context:,} tokens", fontsize=12)
    axis.annotate(f"{length[0]:.1f} tokens", (0, length[0]), (16, -4), textcoords="offset points")
    axis.annotate(
        f"{length[-1]:,.0f} tokens", (pairs[-1], length[-1]), (-16, -2), ha="right",
        textcoords="offset points",
    )  # fmt: skip
    axis.set(yscale="log", xlabel=f"pair of channels j (0 to {width // 2 - 1})")
    axis.set_ylabel("wavelength (tokens, log scale)")
    axis.legend(loc="lower right")
    return figure


def by_position(
    values: Mapping[str, Sequence[float]], bin: int, context: int, ylabel: str
) -> Figure:
    """A measure against the position in the text, in bins; the training's longest text is marked.

    ``values``: name → a number a bin (NaN where there is none); ``bin``: tokens in one.
    """
    figure, (axis,) = new_figure(9.5, 4.2)
    looks = ((LLAMA, "o-"), (ATTENTION, "s--"), (PURPLE, "^:"), (ORANGE, "v-."))
    for (name, row), (colour, line) in zip(values.items(), looks, strict=False):
        axis.plot([bin * (i + 0.5) for i in range(len(row))], row, line, color=colour, label=name)
    axis.axvline(context, color="black", linestyle="--", linewidth=1.5)
    axis.set(xlabel="position (tokens)", ylabel=ylabel)
    low, high = axis.get_ylim()
    axis.text(context, low + 0.04 * (high - low), " longest text in training", fontsize=12)
    if len(values) > 1:
        axis.legend()
    return figure
