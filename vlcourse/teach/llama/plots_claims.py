"""The plots of LLaMA's stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vlcourse.evals.metrics import seed_interval
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
NORMS = {
    "LayerNorm after the sum (2017)": (ATTENTION, "o--"),
    "the same, with warm-up": (ORANGE, "d-."),
    "LayerNorm in the branch (GPT-2)": (OTHER, "s:"),
    "RMSNorm in the branch (LLaMA)": (LLAMA, "^-"),
}
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
    """Loss by training compute, and the compute of training and use together, for one loss."""
    data, goal = result.figure, result.figure["goal"]
    figure, axes = new_figure(13.5, 5, 2)
    curves = data["test loss by training FLOPs"]
    for size, (colour, line) in SIZES.items():
        flops = [at for at, _ in curves["middle"][0]]  # the small size has a further one at times
        losses = np.array([[loss for _, loss in c[: len(flops)]] for c in curves[size]])
        low, high = zip(*map(seed_interval, losses.T), strict=True)
        label = f"{size}: {data['multiplied'][size] / 1000:.1f} k parameters"
        axes[0].plot(flops, losses.mean(axis=0), line, color=colour, label=label)
        axes[0].fill_between(flops, low, high, color=colour, alpha=0.2, linewidth=0)
        if size == "middle":
            wanted = losses.mean(axis=0)[flops.index(goal)]
            axes[0].plot(goal, wanted, "o", color=colour, markersize=10)
    axes[0].axhline(wanted, color="black", linewidth=1, zorder=0)
    axes[0].set(xscale="log", yscale="log", xlabel="training compute (billion FLOPs, log scale)")
    axes[0].set(ylabel="test loss (nats a token, log scale)")
    ticks = [at for at in (0.8, 0.9, 1, 1.2, 1.5, 2, 3, 4) if at < losses.max()]
    axes[0].set_yticks(ticks, [f"{at:g}" for at in ticks])
    axes[0].set_xticks(flops, [f"{at / 1e9:g}" for at in flops])

    served = np.geomspace(result.measured / 10, result.measured * 20, 60) * 1e6
    for size, (colour, line) in SIZES.items():
        total = np.array(
            [t[size] + 2 * data["multiplied"][size] * served for t in data["training for the goal"]]
        )
        axes[1].plot(served / 1e6, total.mean(axis=0), line, color=colour, label=size)
    axes[1].axvspan(result.low, result.high, color="black", alpha=0.12, linewidth=0)
    axes[1].axvline(result.measured, color="black", linewidth=1)
    axes[1].set(xscale="log", yscale="log", xlabel="served tokens (million, log scale)")
    axes[1].set(ylabel="training + use (FLOPs, log scale)")
    ticks = [at for at in (0.1, 0.3, 1, 3, 10, 30, 100) if served[0] <= at * 1e6 <= served[-1]]
    axes[1].set_xticks(ticks, [f"{at:g}" for at in ticks])
    axes[1].set_title("for the loss of the black line; grey: break-even")
    for axis in axes:
        axis.minorticks_off()
        axis.legend()
    return figure


def pre_norm(result: Measurement) -> Figure:
    """Loss by learning rate of each way, and by step at the rate that decides."""
    data = result.figure
    rates = data["rates"]
    figure, axes = new_figure(13.5, 5, 2)
    for number, (way, (colour, line)) in enumerate(NORMS.items()):
        losses = np.array(data["test loss"][way])  # (rates, seeds)
        ends = np.array([seed_interval(row) for row in losses])  # (rates, 2)
        mean = losses.mean(axis=1)
        at = np.array(rates) * 1.06 ** (number - 1.5)  # side by side, so that none hides another
        error = [mean - ends[:, 0], ends[:, 1] - mean]
        axes[0].errorbar(at, mean, error, fmt=line, color=colour, capsize=4, label=way)
        curves = data["loss by step at the high rate"][way]
        steps = [step for step, _ in curves[0]]
        rows = np.array([[loss for _, loss in curve] for curve in curves])
        axes[1].plot(steps, rows.mean(axis=0), line[1:], color=colour, label=way)
        axes[1].fill_between(steps, rows.min(0), rows.max(0), color=colour, alpha=0.2, linewidth=0)
    axes[0].set(xscale="log", xlabel="learning rate (no unit, log scale)")
    axes[0].set(ylabel="test loss (nats a token)", title="bars: 95 % intervals over seeds")
    axes[0].set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes[0].minorticks_off()
    axes[1].set(xlabel="training step", ylabel="training loss (nats a token)")
    axes[1].set_title("at the rate 0.01; bands: from seed to seed")
    for axis in axes:
        axis.axhline(result.others["frequencies"], color="black", linewidth=1, zorder=0)
    axes[0].annotate(
        "token frequencies alone", (0.02, result.others["frequencies"]), (0, -16),
        xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=12,
    )  # fmt: skip
    axes[0].legend(loc="upper left", bbox_to_anchor=(0, 0.86))
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
    "llama.pre_norm": pre_norm,
    "llama.inference_budget": inference_budget,
    "llama.cache": cache,
}
