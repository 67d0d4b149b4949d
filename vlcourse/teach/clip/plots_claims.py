"""The plots of stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.drawing import new_figure
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARMS = {
    "contrastive": (MATCH, "-"),
    "bag of words": (COLOURS[4], "--"),
    "language model": (TEXT, ":"),
}


def efficiency(result: Measurement) -> Figure:
    """Zero-shot accuracy against images seen; a line a seed, a mark where it got there."""
    data = result.figure
    figure, axes = new_figure(13, 4.6, 2, width_ratios=(1.6, 1))
    goal = 100 * data["threshold"]
    for name, (colour, line) in ARMS.items():
        for seed, points in enumerate(data["accuracy by images seen"][name]):
            seen, accuracy = zip(*points, strict=True)
            axes[0].plot(
                [n / 1000 for n in seen], [100 * a for a in accuracy], line, color=colour,
                linewidth=1.8, label=name if seed == 0 else None,
            )  # fmt: skip
    axes[0].axhline(goal, color="black", linewidth=1)
    axes[0].set(
        xlabel="images seen (thousands)",
        ylabel="zero-shot accuracy (%)",
        title=f"until {goal:.0f} % is reached",
    )
    axes[0].legend()
    for place, (name, (colour, _)) in enumerate(ARMS.items()):
        images = [n / 1000 for n in data["images"][name]]
        axes[1].barh(place, sum(images) / len(images), height=0.5, color=colour, alpha=0.6)
        axes[1].plot(images, [place] * len(images), "o", color="black", markersize=5)
    cut = data["censored"]
    names = [f"{name}\n({cut[name]} not there)" if cut[name] else name for name in ARMS]
    axes[1].set_yticks(range(len(ARMS)), names)
    axes[1].set(xlabel="images needed (thousands)", title="mean, and each seed")
    axes[1].grid(False, axis="y")
    return figure


def linear_probe(result: Measurement) -> Figure:
    """Accuracy by labels a class: probe, trained from scratch, and prompts without any label."""
    data = result.figure
    labels, accuracy, interval = data["labels a class"], data["accuracy"], data["interval"]
    figure, (axis,) = new_figure(8.5, 4.6)
    for name, colour, line in (("probe", IMAGE, "o-"), ("scratch", OTHER, "s--")):
        keys = [f"{name} {n}" for n in labels]
        mean, low, high = _percent([(accuracy[k], *interval[k]) for k in keys])
        text = "linear probe on CLIP" if name == "probe" else "same tower, labels only"
        axis.errorbar(
            labels, mean, (mean - low, high - mean), fmt=line, capsize=4, color=colour, label=text
        )
    axis.axhline(100 * accuracy["zero-shot"], color=MATCH, label="prompts, no labels")
    axis.axhspan(*(100 * v for v in interval["zero-shot"]), color=MATCH, alpha=0.2)
    axis.set(
        xscale="log", xlabel="labelled pictures of each class", ylabel="accuracy (%)", ylim=(0, 103)
    )
    axis.set_xticks(labels, labels)
    axis.minorticks_off()
    axis.legend()
    return figure


def robust(result: Measurement) -> Figure:
    """Accuracy of both arms on plain pictures and under each shift; bars are means over seeds."""
    arms: Mapping[str, Sequence[Mapping[str, float]]] = result.figure["accuracy by seed"]
    lost: Mapping[str, Sequence[float]] = result.figure["accuracy lost by seed"]
    figure, axes = new_figure(13, 4.6, 2, width_ratios=(2, 1))
    tests = list(next(iter(arms.values()))[0])
    for a, (arm, found) in enumerate(arms.items()):
        colour = (IMAGE, OTHER)[a]
        for t, test in enumerate(tests):
            values, place = [100 * f[test] for f in found], t + 0.4 * a - 0.2
            label = f"trained on {arm}" if t == 0 else None
            mean = sum(values) / len(values)
            axes[0].bar(place, mean, 0.36, color=colour, alpha=0.7, label=label)
            axes[0].plot([place] * len(values), values, "o", color="black", markersize=4)
        values = [100 * v for v in lost[arm]]
        axes[1].bar(a, sum(values) / len(values), 0.5, color=colour, alpha=0.7)
        axes[1].plot([a] * len(values), values, "o", color="black", markersize=5)
    shown = ["plain" if test == "test" else f"other\n{test}" for test in tests]
    axes[0].set_xticks(range(len(tests)), ["noise" if "noise" in s else s for s in shown])
    axes[0].set(ylabel="accuracy (%)", ylim=(0, 118), title="dots: seeds")
    axes[0].legend(ncols=2, loc="upper center")
    axes[1].set_xticks(range(len(lost)), list(lost))
    axes[1].set(ylabel="lost under shift (points)", title="plain minus mean of the shifts")
    for axis in axes:
        axis.grid(False, axis="x")
    return figure


def prompts(result: Measurement) -> Figure:
    """Accuracy for each way of asking, on each set of pictures."""
    sets: Mapping[str, Mapping[str, float]] = result.figure["accuracy by prompt"]
    ways = list(next(iter(sets.values())))
    figure, (axis,) = new_figure(9, 4.4)
    for w, way in enumerate(ways):
        values = [100 * sets[name][way] for name in sets]
        places = np.arange(len(sets)) + 0.27 * (w - 1)
        axis.bar(places, values, 0.25, color=(OTHER, COLOURS[5], IMAGE)[w], label=way)
        for place, value in zip(places, values, strict=True):
            axis.text(place, value + 1, f"{value:.1f}", ha="center", fontsize=12)
    axis.set_xticks(range(len(sets)), list(sets))
    axis.set(ylabel="accuracy (%)", ylim=(0, 125))
    axis.set_yticks(range(0, 101, 20))
    axis.legend(ncols=3, loc="upper center")
    axis.grid(False, axis="x")
    return figure


def limits(result: Measurement) -> Figure:
    """How often a true caption is preferred to its foil, by kind of foil, with intervals."""
    mean: Mapping[str, float] = result.figure["accuracy by foil"]
    interval: Mapping[str, Any] = result.figure["interval by foil"]
    values, low, high = _percent([(mean[kind], *interval[kind]) for kind in mean])
    figure, (axis,) = new_figure(8.5, 3.4)
    places = range(len(mean))[::-1]
    error = (values - low, high - values)
    axis.barh(places, values, 0.5, xerr=error, capsize=5, color=TEXT, alpha=0.7)
    axis.axvline(50, color="black", linestyle="--", label="chance")
    for place, value, end in zip(places, values, high, strict=True):
        axis.text(end + 1, place, f"{value:.1f}", va="center")
    axis.set_yticks(places, list(mean))
    axis.set(xlabel="true caption preferred (%)", xlim=(0, 112))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2))
    axis.grid(False, axis="y")
    return figure


def real(result: Measurement) -> Figure:
    """CIFAR-10 by class: trained on all ten, and (where measured) with some of them left out."""
    data = result.figure
    whole: Mapping[str, float] = data["accuracy by class"]
    without: Mapping[str, float] = data.get("accuracy by class, some left out", {})
    figure, (axis,) = new_figure(11, 4.4)
    places = np.arange(len(whole))
    both = bool(without)
    axis.bar(
        places - 0.2 * both, [100 * v for v in whole.values()], 0.38, color=IMAGE,
        label="trained on all ten classes",
    )  # fmt: skip
    if both:
        gone = data["left out"]
        colours = [TEXT if name in gone else OTHER for name in whole]
        heights = [100 * without[name] for name in whole]
        axis.bar(places + 0.2, heights, 0.38, color=colours)
        axis.bar(0, 0, color=OTHER, label=f"trained without {' and '.join(gone)}")
        axis.bar(0, 0, color=TEXT, label="… on the classes it never saw")
    axis.axhline(10, color="black", linestyle="--", linewidth=1.5, label="chance")
    axis.set_xticks(places, list(whole), rotation=20)
    axis.set(ylabel="accuracy among ten classes (%)", ylim=(0, 125))
    axis.set_yticks(range(0, 101, 20))
    axis.legend(ncols=2, loc="upper center")
    axis.grid(False, axis="x")
    return figure


def _percent(rows: Sequence[tuple[float, float, float]]) -> tuple[Any, Any, Any]:
    """(mean, low, high) of each row as three arrays, times 100."""
    mean, low, high = (100 * np.array([row[i] for row in rows]) for i in range(3))
    return mean, low, high


PLOTS: dict[str, Callable[[Measurement], Figure]] = {
    "clip.efficiency": efficiency,
    "clip.robust": robust,
    "clip.prompts": prompts,
    "clip.linear_probe": linear_probe,
    "clip.limits": limits,
    "clip.real": real,
}
