"""The plots of the LLaMA lecture's measurements; its drawings are in figures*.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vlcourse.teach.drawing import name_line, new_figure
from vlcourse.teach.llama.figures import ATTENTION, LLAMA, ORANGE, OTHER, PURPLE, STREAM
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BENCHMARKS = ("BoolQ", "PIQA", "SIQA", "HellaSwag", "WinoGrande", "ARC-e", "ARC-c", "OBQA")
# Touvron et al. 2023, table 3 (accuracy, %); SIQA was not reported for GPT-3.
ZERO_SHOT: dict[str, tuple[float | None, ...]] = {
    "GPT-3 175B": (60.5, 81.0, None, 78.9, 70.2, 68.8, 51.4, 57.6),
    "LLaMA-7B": (76.5, 79.8, 48.9, 76.1, 70.1, 72.8, 47.6, 57.2),
    "LLaMA-13B": (78.1, 80.1, 50.4, 79.2, 73.0, 74.8, 52.7, 56.4),
    "LLaMA-33B": (83.1, 82.3, 50.4, 82.8, 76.0, 80.0, 57.8, 58.6),
    "LLaMA-65B": (85.3, 82.8, 52.3, 84.2, 77.0, 78.9, 56.0, 60.2),
}


# What a line of a web page is in truth: colour and hatch. The first two are worth keeping.
KINDS: dict[str, tuple[str, str]] = {
    "clean": (LLAMA, ""),
    "other topic": (COLOURS[5], ""),
    "boilerplate": (OTHER, "///"),
    "other language": (ATTENTION, "\\\\\\"),
    "scrambled": (PURPLE, "..."),
}


def cleaning(stages: Mapping[str, Mapping[str, int]]) -> Figure:
    """Lines left after each step, stacked by what they are in truth; the good ones below."""
    figure, (axis,) = new_figure(10, 4.6)
    below = np.zeros(len(stages))
    for kind, (colour, hatch) in KINDS.items():
        heights = np.array([stage.get(kind, 0) for stage in stages.values()])
        axis.bar(
            range(len(stages)), heights, 0.62, below, label=kind, color=colour, hatch=hatch,
            edgecolor="white",
        )  # fmt: skip
        below = below + heights
    axis.set_xticks(range(len(stages)), list(stages))
    axis.set(ylabel="lines left")
    axis.grid(False, axis="x")
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], title="in truth")
    return figure


def perplexities(values: Mapping[str, Sequence[float]], limit: float) -> Figure:
    """How much the n-gram model is surprised by pages of each kind; the filter's limit."""
    figure, (axis,) = new_figure(9, 3.8)
    every = [value for found in values.values() for value in found]
    bins = np.geomspace(min(every) * 0.95, max(every) * 1.05, 45)
    for kind, (colour, hatch) in KINDS.items():
        if kind in values:
            axis.hist(
                values[kind], bins, label=kind, color=colour, hatch=hatch, alpha=0.8,
                edgecolor="white",
            )  # fmt: skip
    axis.axvline(limit, color="black", linestyle="--")
    axis.text(limit * 1.05, 0.97 * axis.get_ylim()[1], "thrown away →", va="top")
    axis.set(xscale="log", xlabel="perplexity (no unit, log scale)", ylabel="pages")
    axis.legend(title="in truth")
    return figure


def sampling(logits: Tensor, names: Sequence[str], shown: int = 12) -> Figure:
    """What temperature, top-k and top-p do to one distribution of the next token.

    ``logits``: (V,); ``names``: what to call each of the V tokens.
    """
    order = logits.argsort(descending=True)[:shown]
    plain = logits.softmax(dim=0)
    ranked = plain.sort(descending=True).values
    keep_p = ranked.cumsum(0) - ranked < 0.9  # the smallest set that reaches 0.9
    keep_k = torch.arange(len(ranked)) < 3
    panels: dict[str, list[tuple[str, Tensor, str]]] = {
        "temperature": [
            (f"T = {t:g}", (logits / t).softmax(dim=0)[order], colour)
            for t, colour in ((0.5, STREAM), (1.0, OTHER), (2.0, ATTENTION))
        ],
        "top-k, k = 3": [("T = 1", plain[order], OTHER), _kept("kept", ranked, keep_k, shown)],
        "top-p, p = 0.9": [("T = 1", plain[order], OTHER), _kept("kept", ranked, keep_p, shown)],
    }
    figure, axes = new_figure(14, 4.6, 3, sharey=True)
    for axis, (title, series) in zip(axes, panels.items(), strict=True):
        width = 0.8 / len(series)
        for number, (name, values, colour) in enumerate(series):
            places = np.arange(len(order)) + (number - (len(series) - 1) / 2) * width
            axis.bar(places, 100 * values.numpy(), width, color=colour, label=name)
        axis.set_xticks(range(len(order)), [names[i] for i in order.tolist()], rotation=60)
        axis.set(title=title, xlabel="next token, most probable first")
        axis.grid(False, axis="x")
        axis.legend()
    axes[0].set_ylabel("probability (%)")
    return figure


def _kept(name: str, ranked: Tensor, keep: Tensor, shown: int) -> tuple[str, Tensor, str]:
    left = ranked * keep
    return f"{name}: {int(keep.sum())}", (left / left.sum())[:shown], LLAMA


def decoding(
    seconds: Mapping[str, Sequence[float]], lengths: Sequence[int], title: str = ""
) -> Figure:
    """Milliseconds for one more token, by the number of tokens before it."""
    figure, (axis,) = new_figure(9, 4.2)
    for (name, values), (colour, line) in zip(
        seconds.items(), ((ATTENTION, "s--"), (LLAMA, "o-")), strict=True
    ):
        axis.plot(lengths, [1000 * v for v in values], line, color=colour)
        name_line(axis, name, (lengths[-1], 1000 * values[-1]), colour)
    axis.set(xlabel="tokens so far", ylabel="one more token (ms)", ylim=(0, None), title=title)
    return figure


def comprehension(
    accuracy: Mapping[str, tuple[float, float, float]], blind: Mapping[str, float]
) -> Figure:
    """Answers right by kind of question, with intervals, and what guessing gives as a line.

    ``accuracy``: kind → (mean, low, high), fractions; ``blind``: kind → a fraction.
    """
    figure, (axis,) = new_figure(9.5, 4.2)
    places = np.arange(len(accuracy))
    mean, low, high = 100 * np.array(list(accuracy.values())).T
    axis.bar(places, mean, 0.6, color=LLAMA)
    axis.errorbar(places, mean, (mean - low, high - mean), fmt="none", color="black", capsize=5)
    guesses = [100 * blind[kind] for kind in accuracy]
    axis.hlines(guesses, places - 0.38, places + 0.38, color=ATTENTION, linewidth=3)
    axis.annotate(
        "guessing", (places[-1] + 0.4, guesses[-1]), (3, 0), textcoords="offset points",
        color=ATTENTION, va="center",
    )  # fmt: skip
    axis.set_xticks(places, list(accuracy))
    axis.set(ylabel="answers right (%)", ylim=(0, 108), xlim=(-0.5, len(places) + 0.3))
    axis.grid(False, axis="x")
    return figure


def emergence(
    log: Sequence[Mapping[str, float]],
    chance: Mapping[str, float] | None = None,
    stages: Mapping[str, int] | None = None,
) -> Figure:
    """The loss, and below it the accuracy on each kind of question, over the training steps.

    The thick line of the loss is a running mean: batches of long and of short texts take turns.

    ``log``: rows such as {"step": …, "loss": …, kind: accuracy as a fraction, …}; a kind may be
    missing from a row. ``chance``: kind → what guessing gives, marked at the right edge; only its
    kinds are drawn then. ``stages``: name of a stage of the curriculum → its first step.
    """
    keys = dict.fromkeys(k for row in log for k in row if k not in ("step", "loss"))
    figure, (above, axis) = new_figure(11, 6.6, rows=2, sharex=True, height_ratios=(1, 1.5))
    end = max(float(row["step"]) for row in log)
    steps, losses = _column(log, "loss")
    above.plot(steps, losses, color=OTHER, lw=0.5, alpha=0.5)
    starts = [*(stages or {"": 0}).values(), end + 1]
    for first, after in pairwise(starts):
        inside = [i for i, step in enumerate(steps) if first < step <= after]
        mean = _running_mean([losses[i] for i in inside], 9)
        above.plot([steps[i] for i in inside], mean, color=OTHER, lw=2)
    low, high = float(np.quantile(losses, 0.02)), max(losses)
    above.set(ylabel="loss of a batch\n(nats, log scale)", yscale="log", ylim=(low, 8 * high))
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5) if min(losses) <= t <= max(losses)]
    above.set_yticks(ticks, [f"{t:g}" for t in ticks])
    above.minorticks_off()
    for number, (name, first) in enumerate((stages or {}).items()):
        for either in (above, axis):
            either.axvline(first, color=OTHER, ls=":", lw=1.2)
        above.annotate(
            name, (first, 1), (4, -3 - 14 * (number % 3)), va="top", fontsize="small",
            xycoords=("data", "axes fraction"), textcoords="offset points",
        )  # fmt: skip
    lines = ("-", "--", "-.", ":", "-", "--", "-.", ":")
    for number, kind in enumerate(chance or keys):
        colour = COLOURS[number % 7]
        steps, values = _column(log, kind)
        axis.plot(steps, [100 * v for v in values], lines[number % 8], color=colour, label=kind)
        if chance and kind in chance:
            beside = list(chance.values())[:number].count(chance[kind])  # the same guess
            at = end * (1.015 + 0.025 * beside)
            axis.plot(at, 100 * chance[kind], "<", color=colour, clip_on=False)
    axis.set(xlabel="training step", ylabel="answers right (%)", ylim=(0, 103), xlim=(0, end))
    title = "triangles at the right: guessing" if chance else None
    axis.legend(loc="center left", bbox_to_anchor=(1.09, 0.5), title=title)
    return figure


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """Over ``width`` values around each; fewer at the ends."""
    half = width // 2
    return [float(np.mean(values[max(0, i - half) : i + half + 1])) for i in range(len(values))]


def _column(log: Sequence[Mapping[str, float]], key: str) -> tuple[list[float], list[float]]:
    """The steps at which something was measured, and its values."""
    points = [(row["step"], row[key]) for row in log if key in row]
    return [step for step, _ in points], [value for _, value in points]


def isoloss(rows: Mapping[str, Mapping[str, Any]], served: Tensor) -> Figure:
    """Training plus inference compute for one quality, by the tokens that will be served.

    ``rows``: name → {"parameters", "tokens"}, all with the same predicted loss. ``served``: (n,)
    tokens generated or read in use.
    """
    figure, (axis,) = new_figure(9.5, 4.8)
    lines = ((ATTENTION, "--"), (ORANGE, "-."), (LLAMA, "-"), (STREAM, ":"))
    for (name, row), (colour, line) in zip(rows.items(), lines, strict=False):
        training = 6 * row["parameters"] * row["tokens"]
        total = training + 2 * row["parameters"] * served
        axis.plot(served, total, line, color=colour)
        name_line(axis, name, (float(served[-1]), float(total[-1])), colour)
    axis.set(
        xscale="log", yscale="log", xlabel="tokens served in use (log scale)",
        ylabel="training + inference (FLOPs, log)",
    )  # fmt: skip
    return figure


def zero_shot() -> Figure:
    """The paper's table 3 as differences: each size minus GPT-3, on the benchmarks it reported."""
    figure, (axis,) = new_figure(12, 5.0)
    looks = {
        "LLaMA-7B": ("o", "#A6DCCB"),
        "LLaMA-13B": ("D", LLAMA),
        "LLaMA-33B": ("s", COLOURS[5]),
        "LLaMA-65B": ("^", STREAM),
    }
    gpt3 = ZERO_SHOT["GPT-3 175B"]
    both = [i for i, value in enumerate(gpt3) if value is not None]
    places = np.arange(len(both))
    reported = np.array([gpt3[i] for i in both], dtype=float)
    for number, (name, (marker, colour)) in enumerate(looks.items()):
        values = np.array([ZERO_SHOT[name][i] for i in both], dtype=float)
        axis.plot(
            places + 0.16 * (number - 1.5), values - reported, marker, color=colour, markersize=10,
            label=name, linestyle="none", markeredgecolor="black", markeredgewidth=0.8,
        )  # fmt: skip
    axis.axhline(0, color=ATTENTION, linewidth=2)
    axis.text(places[-1] + 0.55, 0, "GPT-3 175B", color=ATTENTION, va="center")
    axis.set_xticks(places, [f"{BENCHMARKS[i]}\n{gpt3[i]:.1f} %" for i in both])
    axis.set(ylabel="accuracy minus GPT-3's (points)", xlim=(-0.5, len(both) - 0.5))
    axis.set_xlabel("benchmark, and GPT-3's zero-shot accuracy on it")
    axis.grid(False, axis="x")
    axis.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.14), columnspacing=1.2)
    return figure


def utilisation(rows: Mapping[str, tuple[float, float]]) -> Figure:
    """GPU-hours, and the share of the hardware's peak that they used: name → (hours, MFU)."""
    figure, axes = new_figure(12, 3.6, 2, sharey=True)
    places = -np.arange(len(rows))
    for column, (axis, scale, label) in enumerate(
        zip(axes, (1e-3, 100), ("A100 hours (thousands)", "MFU (% of 312 TFLOP/s)"), strict=True)
    ):
        values = [scale * row[column] for row in rows.values()]
        axis.barh(places, values, 0.6, color=(ORANGE, LLAMA)[column])
        for place, value in zip(places, values, strict=True):
            axis.annotate(
                f"{value:,.0f}", (value, place), (5, 0), textcoords="offset points", va="center"
            )
        axis.set(xlabel=label)
        axis.margins(x=0.15)
        axis.grid(False, axis="y")
    axes[0].set_yticks(places, list(rows))
    return figure
