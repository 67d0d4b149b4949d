"""The plots of BLIP-2's stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import mean
from typing import TYPE_CHECKING

from vlcourse.evals.metrics import seed_interval
from vlcourse.teach.blip.plots_claims import arms_by_seed
from vlcourse.teach.blip2 import plots
from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.clip.plots_claims import effects
from vlcourse.teach.drawing import legend_below, new_figure, percent_axis
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.over_seeds import BY_SEED, band
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ANSWERED = {"mean": ("questions answered", MATCH, "o"), "true": ("captions true", TEXT, "s")}


def _blind(axis: Axes, arms: Mapping[str, BY_SEED], name: str) -> None:
    """A line for what an arm's language model answers without the picture."""
    level = 100 * mean(each["mean blind"] for each in arms[name])
    axis.axhline(
        level, color="black", linestyle="--", linewidth=1.5, label="questions, without the picture"
    )


def bottleneck(result: Measurement) -> Figure:
    """Three bridges with their trained shares, and what separates them."""
    figure, axes = new_figure(14, 4.8, 2, width_ratios=(1.4, 1))
    names = {
        "Q-Former": "Q-Former",
        "linear": "linear layer",
        "language model too": "Q-Former and\nlanguage model",
    }
    arms: Mapping[str, BY_SEED] = {name: result.figure["by seed"][name] for name in names}
    labels = [
        f"{names[name]}\n({found[0]['trained'] / 1e3:,.0f} k trained)"
        for name, found in arms.items()
    ]
    arms_by_seed(axes[0], arms, labels, ANSWERED)
    _blind(axes[0], arms, "Q-Former")
    axes[0].set_title("dots: seeds")
    percent_axis(axes[0], "%")
    legend_below(axes[0], 2, 0.25)
    rows = {"a linear layer": "own", "one whose language\nmodel learns": "frozen"}
    effects(axes[1], result.with_own(), rows, (MATCH, MATCH))
    axes[1].set(xlabel="points (95 % interval)", title="questions, Q-Former minus another")
    return figure


def stage1(result: Measurement) -> Figure:
    """Questions answered along the second stage, with a first stage and without."""
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    figure, axes = new_figure(14, 4.8, 2, width_ratios=(1.5, 1))
    looks = {
        "Q-Former": ("with stage 1", MATCH),
        "without": ("without", OTHER),
        "without, longer": ("without, longer", COLOURS[4]),
    }
    for name, (said, colour) in looks.items():
        band(axes[0], arms[name], "step", colour, said, scale=100)
    _blind(axes[0], arms, "Q-Former")
    axes[0].set(xlabel="steps of stage 2", ylabel="questions answered (%)")
    axes[0].set_title("bands: 95 % over seeds")
    legend_below(axes[0], 2)
    rows = {"at equal steps\nof stage 2": "own", "at equal steps\nin all": "longer",
            "captions true": "true"}  # fmt: skip
    effects(axes[1], result.with_own(), rows, (MATCH, MATCH, TEXT))
    axes[1].set(xlabel="points (95 % interval)", title="with − without stage 1")
    return figure


def queries(result: Measurement) -> Figure:
    """Questions answered and captions true by the number of queries."""
    stored: Mapping[str, BY_SEED] = result.figure["by seed"]  # in the alphabet's order
    arms = dict(sorted(stored.items(), key=lambda arm: int(arm[0].split()[0])))
    figure, (axis,) = new_figure(10, 4.8)
    places = range(len(arms))
    for what, (said, colour, mark) in ANSWERED.items():
        values = [[100 * each[what] for each in found] for found in arms.values()]
        middle = [mean(each) for each in values]
        ends = [seed_interval(each) for each in values]
        error = [[m - e[0] for m, e in zip(middle, ends, strict=True)],
                 [e[1] - m for m, e in zip(middle, ends, strict=True)]]  # fmt: skip
        axis.errorbar(places, middle, error, fmt=f"{mark}-", color=colour, capsize=5, label=said)
    _blind(axis, arms, next(iter(arms)))
    axis.set_xticks(places, [name.split()[0] for name in arms])
    axis.set(xlabel="queries", title="95 % intervals over seeds")
    percent_axis(axis, "%")
    legend_below(axis, 3)
    return figure


def masks(result: Measurement) -> Figure:
    """Training losses and what the models can do, under right masks and leaking ones."""
    names = {
        "right masks": "right\nmasks", "ITC leaks": "ITC\nleaks", "ITG leaks": "ITG\nleaks"
    }  # fmt: skip
    arms: Mapping[str, BY_SEED] = {name: result.figure["by seed"][name] for name in names}
    figure, axes = new_figure(14, 4.6, 2)
    in_nats = {  # that function shows fractions in %
        name: [{key: value / 100 for key, value in each.items()} for each in found]
        for name, found in arms.items()
    }
    losses = {"itc": ("ITC", IMAGE, "o"), "itg": ("ITG", TEXT, "s")}
    arms_by_seed(axes[0], in_nats, list(names.values()), losses)
    axes[0].set(ylabel="training loss (nats)", title="the loss", ylim=(0, None))
    judged = {"recall": ("recall@1", IMAGE, "o"), "true": ("captions true", TEXT, "s")}
    arms_by_seed(axes[1], arms, list(names.values()), judged)
    axes[1].set_title("what the model can do (dots: seeds)")
    percent_axis(axes[1], "%")
    for axis in axes:
        legend_below(axis, 2)
    return figure


def zero_shot_vqa(result: Measurement) -> Figure:
    """Answers by kind of question, of both models, with the picture and without."""
    o, shown, kinds = result.others, result.figure["by kind"], result.figure["kinds"]
    names = {
        "decoder": "decoder",
        "encoder–decoder": "encoder–decoder",
        "decoder: blind": "decoder, no picture",
        "encoder–decoder: blind": "encoder–decoder, no picture",
        "most frequent": "most frequent answer",
    }
    told = {
        said: {
            **{kind: shown[name][kind] for kind in kinds},
            "mean": [o[f"{name}{end}"] for end in ("", " low", " high")],
        }
        for name, said in names.items()
    }
    return plots.answered(told)


PLOTS: dict[str, Callable[[Measurement], Figure]] = {
    "blip2.bottleneck": bottleneck,
    "blip2.stage1": stage1,
    "blip2.queries": queries,
    "blip2.masks": masks,
    "blip2.zero_shot_vqa": zero_shot_vqa,
}
