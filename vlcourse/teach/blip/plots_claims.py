"""The plots of BLIP's stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from vlcourse.evals.metrics import seed_interval
from vlcourse.teach.blip.claims import NAMES, TASKS
from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.clip.plots_claims import effects
from vlcourse.teach.drawing import name_line, new_figure
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.over_seeds import BY_SEED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

JUDGED = {"recall": ("recall@1", MATCH, "o"), "true": ("true captions", TEXT, "s")}
CHANCE = {"color": "black", "linestyle": "--", "linewidth": 1.5}


def arms_by_seed(
    axis: Axes,
    arms: Mapping[str, BY_SEED],
    names: Sequence[str],
    judged: Mapping[str, tuple[str, str, str]] = JUDGED,
) -> None:
    """What each arm can do: a mark with its interval over the seeds, and a small dot a seed.

    Args:
        axis: where.
        arms: by arm, what was found with each seed.
        names: how the arms are called there, a line break where it is needed.
        judged: by what was found, its name, its colour and its mark.
    """
    for n, (what, (label, colour, mark)) in enumerate(judged.items()):
        shift = 0.22 * (n - (len(judged) - 1) / 2)
        for place, found in enumerate(arms.values()):
            values = [100 * each[what] for each in found]
            low, high = seed_interval(values)
            middle, x = mean(values), place + shift
            axis.errorbar(
                x, middle, [[middle - low], [high - middle]], fmt=mark, color=colour, capsize=5,
                markersize=9, label=label if place == 0 else None,
            )  # fmt: skip
            axis.plot([x + 0.07] * len(values), values, ".", color="black", markersize=5)
    axis.set_xticks(range(len(arms)), list(names))
    axis.set(ylabel="%", xlim=(-0.5, len(arms) - 0.5))
    axis.grid(False, axis="x")


def tasks(result: Measurement) -> Figure:
    """Each task with its interval and what is had without looking; then against specialists."""
    o, names = result.others, result.figure["tasks"]
    figure, axes = new_figure(13.5, 4.2, 2, width_ratios=(1.4, 1))
    places = range(len(names))[::-1]
    for place, name in zip(places, names, strict=True):
        value, low, high = (100 * o[name + end] for end in ("", " low", " high"))
        error = [[value - low], [high - value]]
        axes[0].barh(place, value, 0.55, xerr=error, capsize=5, color=MATCH, alpha=0.7)
        axes[0].text(high + 1.5, place, f"{value:.1f}", va="center")
        blind = 100 * o[f"blind: {name}"]
        axes[0].plot([blind] * 2, [place - 0.38, place + 0.38], color="black", linewidth=3)
    axes[0].set_yticks(places, [TASKS[name] for name in names])
    axes[0].set(xlabel="blip-toy (%)", xlim=(0, 115))
    axes[0].set_title("four tasks (black: without looking at the picture)")
    axes[0].grid(False, axis="y")
    rows = {
        "recall@1, against\ncomparing and matching": "all tasks − comparing and matching: recall",
        "true captions,\nagainst writing": "all tasks − writing: true",
    }
    effects(axes[1], result, rows, (MATCH, TEXT))
    axes[1].set(xlabel="points (95 % interval)", title="small models: all tasks − one kind only")
    return figure


def hard_negatives(result: Measurement) -> Figure:
    """Foils noticed by both arms, and what hard negatives change."""
    foils = ("swapped relation", "swapped attribute", "replaced attribute")
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    figure, axes = new_figure(14, 4.6, 2, width_ratios=(1.2, 1))
    by_foil = {
        foil: [
            {name: found[foil] for name, found in zip(arms, both, strict=True)}
            for both in zip(*arms.values(), strict=True)
        ]
        for foil in foils
    }
    judged = {"hard": ("hard negatives", MATCH, "o"), "random": ("random negatives", OTHER, "s")}
    arms_by_seed(axes[0], by_foil, [foil.replace(" ", "\n") for foil in foils], judged)
    axes[0].axhline(50, label="chance", **CHANCE)
    axes[0].set(ylabel="true caption preferred (%)", ylim=(35, 102), title="dots: seeds")
    axes[0].legend(loc="center")
    rows = {foil: f"gain: {foil}" for foil in foils}
    rows |= {"recall@1": "gain: recall", "true captions": "gain: true"}
    effects(axes[1], result, rows, (MATCH, MATCH, MATCH, OTHER, OTHER))
    axes[1].set(xlabel="points gained (95 % interval)", title="hard − random negatives")
    return figure


def rerank(result: Measurement) -> Figure:
    """Recall of blip-toy by the number looked at; and of the small arms before and after."""
    curve: Mapping[str, float] = result.figure["recall by k"]
    ends: Mapping[str, Sequence[float]] = result.figure["interval by k"]
    figure, axes = new_figure(13, 4.4, 2, width_ratios=(1.7, 1))
    counts = sorted(curve, key=int)  # a stored measurement has them in the alphabet's order
    values = [100 * curve[k] for k in counts]
    low, high = ([100 * ends[k][i] for k in counts] for i in (0, 1))
    places = range(len(counts))
    axes[0].plot(places, values, "o-", color=MATCH)
    axes[0].fill_between(places, low, high, color=MATCH, alpha=0.2)
    axes[0].axhline(values[0], color=IMAGE, linestyle="--")
    name_line(axes[0], "cosines alone", (len(counts) - 1, values[0]), IMAGE, (-4, -12))
    axes[0].set_xticks(places, ["none", *counts[1:]])
    axes[0].set(xlabel="looked at, of 256", ylabel="recall@1 (%)", title="blip-toy, over pictures")
    for found in result.figure["arms"]:
        both = [100 * found["recall itc"], 100 * found["recall"]]
        axes[1].plot((0, 1), both, "o-", color=MATCH, alpha=0.6)
    axes[1].set_xticks((0, 1), ("cosines\nalone", f"{result.recipe['k']} looked at"))
    axes[1].set(ylabel="recall@1 (%)", xlim=(-0.4, 1.4), title="small arms, a line a seed")
    return figure


def sharing(result: Measurement) -> Figure:
    """What each kind of sharing can do, its text model's size; and "all but SA" minus each."""
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.3, 1))
    words = {"all-but-sa": "all but\nself-attention", "all-but-ca": "all but\ncross-attention"}
    most = max(found[0]["parameters"] for found in arms.values())
    names = [
        f"{words.get(name, NAMES.get(name))}\n({100 * found[0]['parameters'] / most:.0f} %)"
        for name, found in arms.items()
    ]
    arms_by_seed(axes[0], arms, names)
    axes[0].set(xlabel="shared (parameters of the text model)", title="dots: seeds")
    axes[0].legend()
    rows = {
        f"{label},\nagainst {NAMES[name].replace('cross-attention', 'CA')}": f"{what}, {name}"
        for what, (label, _, _) in JUDGED.items()
        for name in NAMES
    }
    effects(axes[1], result, rows, (*[MATCH] * len(NAMES), *[TEXT] * len(NAMES)))
    axes[1].set(xlabel="points (95 % interval)", title="all but self-attention − another")
    axes[1].tick_params(axis="y", labelsize=11)
    return figure


PLOTS: dict[str, Callable[[Measurement], Figure]] = {
    "blip.tasks": tasks,
    "blip.hard_negatives": hard_negatives,
    "blip.rerank": rerank,
    "blip.sharing": sharing,
}
