"""The plots of stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.drawing import name_line, new_figure
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARMS = {
    "contrastive": (MATCH, "-"),
    "bag of words": (COLOURS[4], "--"),
    "language model": (TEXT, ":"),
}


def efficiency(result: Measurement) -> Figure:
    """Accuracy against images seen for each kind of captions, a line a seed; then the ratios."""
    kinds = [kind for kind in ("plain", "rich") if kind in result.figure]
    width = 4.9 * (1 + len(kinds))
    figure, axes = new_figure(width, 4.8, 1 + len(kinds), width_ratios=(*(1 for _ in kinds), 1.1))
    for axis, kind in zip(axes, kinds, strict=False):
        data = result.figure[kind]
        goal = 100 * data["threshold"]
        for place, (name, curves) in enumerate(data["accuracy by images seen"].items()):
            colour, line = ARMS[name]
            for points in curves:
                seen, accuracy = zip(*points, strict=True)
                axis.plot(
                    [n / 1000 for n in seen], [100 * a for a in accuracy], line, color=colour,
                    linewidth=1.8,
                )  # fmt: skip
            cut = data["censored"][name]
            text = f"{name} ({cut} not there)" if cut else name
            # Beside its lines: at the left edge there is room above the goal, one line an arm.
            axis.text(
                0.03, 0.95 - 0.08 * place, f"{'─' if line == '-' else '╌'} {text}", color=colour,
                transform=axis.transAxes, fontsize=12, weight="bold",
            )  # fmt: skip
        axis.axhline(goal, color="black", linewidth=1)
        axis.set(xlabel="images seen (thousands)", title=f"{kind} captions, until {goal:.0f} %")
        axis.set(ylabel="zero-shot accuracy (%)", ylim=(0, 1.7 * goal), xlim=(0, None))
    rows = {
        "language model\n÷ bag of words": "language model, plain",
        "bag of words\n÷ contrastive": "contrastive, plain",
    }
    if "rich" in kinds:
        rows[f"the same,\nto {100 * result.others['goal, rich']:.0f} %"] = (
            "contrastive, plain, goal of rich"
        )
        rows["the same, with\nrich captions"] = "contrastive, rich"
    effects(axes[-1], result, rows, (TEXT, MATCH, MATCH, MATCH)[: len(rows)], zero=1, scale=1)
    axes[-1].set(xscale="log", xlabel="times as many images (95 % interval)", xlim=(0.4, 30))
    axes[-1].set_xticks((0.5, 1, 2, 4, 8, 16), ("½", "1", "2", "4", "8", "16"))
    axes[-1].minorticks_off()
    for row, paper in enumerate((3, 4)):  # figure 2 of the paper
        y = len(rows) - 1.3 - row
        axes[-1].plot(paper, y, "x", color="black", markersize=9)
        axes[-1].text(1.15 * paper, y, f"the paper: {paper}", fontsize=11, va="center")
    return figure


def effects(
    axis: Axes,
    result: Measurement,
    rows: Mapping[str, str],
    colours: Sequence[str],
    zero: float = 0,
    scale: float = 100,
) -> None:
    """Numbers of ``others`` with intervals, the first row on top, and the line of no effect."""
    for place, (name, colour) in enumerate(zip(rows.values(), colours, strict=True)):
        value, low, high = (scale * result.others[name + end] for end in ("", " low", " high"))
        y, error = len(rows) - 1 - place, [[value - low], [high - value]]
        axis.errorbar(value, y, xerr=error, fmt="o", color=colour, capsize=6, markersize=9)
        text = f"{value:{'+' if zero == 0 else ''}.1f}".replace("-", "−")
        text = "0.0" if text in ("+0.0", "−0.0") else text
        # Beyond the right end of the interval, or the left one where the line of no effect follows.
        end, away = (high, 8) if high >= zero else (low, -8)
        name_line(axis, text, (end, y), colour, (away, 0))
    axis.axvline(zero, color="black", linestyle="--", linewidth=1.5)
    axis.margins(x=0.27)  # room for the numbers
    axis.set_yticks(range(len(rows))[::-1], list(rows))
    axis.set_ylim(-0.5, len(rows) - 0.4)
    axis.grid(False, axis="y")


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
    """Accuracy of the four arms on plain and shifted pictures; then what saves accuracy."""
    arms: Mapping[str, Sequence[Mapping[str, float]]] = result.figure["accuracy by seed"]
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.7, 1))
    tests = ("test", *(test for test in next(iter(arms.values()))[0] if test != "test"))
    for a, (arm, found) in enumerate(arms.items()):
        colour = TEXT if arm.startswith("captions") else OTHER
        varied = arm.endswith("varied")
        for t, test in enumerate(tests):
            values, place = [100 * f[test] for f in found], t + 0.2 * (a - (len(arms) - 1) / 2)
            axes[0].bar(
                place, sum(values) / len(values), 0.18, color=colour if varied else "white",
                edgecolor=colour, hatch="" if varied else "///", linewidth=1.5,
                label=arm if t == 0 else None,
            )  # fmt: skip
            axes[0].plot([place] * len(values), values, "o", color="black", markersize=4)
    shown = ["plain" if test == "test" else f"other\n{test}" for test in tests]
    axes[0].set_xticks(range(len(tests)), ["noise" if "noise" in s else s for s in shown])
    axes[0].set(ylabel="accuracy (%)", ylim=(0, 132), title="test pictures (dots: seeds)")
    axes[0].set_yticks(range(0, 101, 20))
    axes[0].legend(ncols=2, loc="upper center", fontsize=12)
    axes[0].grid(False, axis="x")
    rows = {
        "captions for labels,\none generator": "objective, one generator",
        "captions for labels,\nvaried pictures": "objective, varied",
        "varied pictures,\ncaptions": "variety, captions",
        "varied pictures,\nlabels": "variety, labels",
    }
    rows = {text: name for text, name in rows.items() if name in result.others}
    effects(axes[1], result, rows, (COLOURS[4], COLOURS[4], IMAGE, IMAGE)[: len(rows)])
    axes[1].set(xlabel="points saved under shift (95 % interval)", title="what saves accuracy")
    return figure


def prompts(result: Measurement) -> Figure:
    """What each step of asking adds, on each set of pictures, with its interval."""
    sets: Mapping[str, Mapping[str, float]] = result.figure["accuracy by prompt"]
    names = sorted(sets, reverse=True)  # the toy world first
    figure, axes = new_figure(12, 3.2, len(sets), sharex=True)
    for axis, name in zip(axes, names, strict=True):
        prefix = "" if name == "toy world" else f"{name} "
        rows = {
            "one template\ninstead of the bare name": f"{prefix}one template − bare name",
            "an ensemble\ninstead of one template": f"{prefix}ensemble − one template",
        }
        effects(axis, result, rows, (IMAGE, IMAGE))
        bare = 100 * sets[name]["bare name"]
        axis.set(xlabel="points added (95 % interval)", title=f"{name} (bare name {bare:.1f} %)")
        axis.set_ylim(-0.5, 1.7)
    for axis in axes[1:]:
        axis.set_yticks(axis.get_yticks(), [""] * len(axis.get_yticks()))
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
