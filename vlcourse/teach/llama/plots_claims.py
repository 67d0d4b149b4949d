"""The plots of LLaMA's stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vlcourse.teach.drawing import new_figure
from vlcourse.teach.llama.figures import ATTENTION, LLAMA, ORANGE, OTHER, PURPLE, STREAM
from vlcourse.teach.measurement import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARMS = {
    "GPT-2": (OTHER, ":"),
    "RMSNorm": (STREAM, "--"),
    "SwiGLU": (ORANGE, "-."),
    "rotary": (PURPLE, "--"),
    "all three": (LLAMA, "-"),
}
SIZES = {"small": (STREAM, ":"), "middle": (LLAMA, "-"), "big": (ATTENTION, "--")}
WAYS = {"with": (LLAMA, "o-"), "without": (ATTENTION, "s--")}


def architecture(result: Measurement) -> Figure:
    """Loss over the steps of each arm, and what each change gains over GPT-2's block."""
    data = result.figure
    figure, axes = new_figure(13, 4.6, 2, width_ratios=(1.3, 1))
    for arm, (colour, line) in ARMS.items():
        runs = np.array([[loss for _, loss in run] for run in data["loss by step"][arm]])
        steps = [step for step, _ in data["loss by step"][arm][0]]
        axes[0].plot(steps, runs.mean(axis=0), line, color=colour, label=arm)
    axes[0].set(
        xlabel="training step", ylabel="training loss (nats a token)", title="mean over seeds"
    )
    axes[0].legend()
    changes = list(data["gain"])
    places = range(len(changes))[::-1]
    for place, arm in zip(places, changes, strict=True):
        gains = data["gain"][arm]
        if arm == "all three":
            low, high = result.low, result.high
        else:
            low, high = result.others[f"{arm} low"], result.others[f"{arm} high"]
        mean = sum(gains) / len(gains)
        error = [[mean - low], [high - mean]]
        axes[1].barh(place, mean, 0.5, xerr=error, capsize=5, color=ARMS[arm][0], alpha=0.7)
        axes[1].plot(gains, [place] * len(gains), "o", color="black", markersize=4)
    axes[1].axvline(0, color="black", linewidth=1)
    axes[1].set_yticks(places, changes)
    axes[1].set(xlabel="test loss saved (nats a token)", title="against GPT-2's block; dots: seeds")
    axes[1].grid(False, axis="y")
    return figure


def inference_budget(result: Measurement) -> Figure:
    """Test loss against training compute, and against what a token costs in use."""
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator

    data = result.figure
    cost = data["FLOPs a token"]
    figure, axes = new_figure(13, 4.6, 2, width_ratios=(1.5, 1))
    for size, (colour, line) in SIZES.items():
        tokens = data["tokens"][size]
        label = f"{size}: {cost[size] / 2000:,.0f} k parameters, {tokens / 1e6:.1f} M tokens"
        for seed, curve in enumerate(data["test loss by training FLOPs"][size]):
            flops, loss = zip(*curve, strict=True)
            axes[0].plot(
                flops, loss, line, color=colour, linewidth=1.8, label=None if seed else label
            )
        last = data["last loss"][size]
        axes[1].plot([cost[size]] * len(last), last, "o", color=colour, markersize=8)
    best = [sum(data["last loss"][size]) / len(data["last loss"][size]) for size in SIZES]
    axes[1].plot([cost[size] for size in SIZES], best, "-", color="black", linewidth=1, zorder=0)
    axes[0].set(xscale="log", xlabel="training compute (FLOPs, log scale)")
    axes[0].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0].xaxis.set_major_formatter(LogFormatterSciNotation(minor_thresholds=(2, 2)))  # label all
    axes[0].minorticks_off()
    axes[0].set_ylabel("test loss (nats a token)")
    axes[0].legend()
    axes[1].set(xscale="log", xlabel="a token in use (thousand FLOPs, log scale)")
    axes[1].set_xticks(list(cost.values()), [f"{flops / 1000:,.0f}" for flops in cost.values()])
    axes[1].minorticks_off()
    axes[1].set(ylabel="last test loss (nats a token)", title="same training compute; dots: seeds")
    return figure


def cache(result: Measurement) -> Figure:
    """Tokens a second, and the time for the whole text, by its length; a line a seed."""
    data = result.figure
    lengths = np.array(data["lengths"])
    figure, axes = new_figure(13, 4.6, 2)
    for way, (colour, line) in WAYS.items():
        for seed, row in enumerate(data["tokens a second"][way]):
            speed, label = np.array(row), None if seed else f"{way} a cache"
            axes[0].plot(lengths, speed, line, color=colour, linewidth=1.8, label=label)
            axes[1].plot(lengths, lengths / speed, line, color=colour, linewidth=1.8, label=label)
    axes[0].set(xlabel="new tokens", ylabel="tokens a second", ylim=(0, None))
    axes[1].set(
        xscale="log", yscale="log", xlabel="new tokens (log scale)", ylabel="whole text (s, log)"
    )
    axes[1].set_xticks(lengths, lengths)
    axes[1].minorticks_off()
    for axis in axes:
        axis.legend()
    return figure


PLOTS: dict[str, Callable[[Measurement], Figure]] = {
    "llama.architecture": architecture,
    "llama.inference_budget": inference_budget,
    "llama.cache": cache,
}
