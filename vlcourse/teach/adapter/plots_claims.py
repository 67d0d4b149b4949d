"""The plots of the adapters' stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vlcourse.data.corpus.instructions import INSTRUCTION_KINDS
from vlcourse.teach.adapter.claims import ENOUGH, FULL
from vlcourse.teach.blip.plots_claims import arms_by_seed
from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.clip.plots_claims import effects
from vlcourse.teach.drawing import legend_below, new_figure, percent_axis
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.over_seeds import BY_SEED, band, by_kind
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {kind: kind for kind in (*INSTRUCTION_KINDS, "score")}
FOLLOWED = {"score": ("instructions followed", MATCH, "o")}


def zero_init(result: Measurement) -> Figure:
    """Loss and score on the way, gates closed at first and random; and the gates at the end."""
    figure, axes = new_figure(16, 4.6, 3, width_ratios=(1.2, 1.2, 1))
    looks = {"V1": ("closed", MATCH), "V1, random gates": ("random", OTHER)}
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    for name, (said, colour) in looks.items():
        band(axes[0], arms[name], "loss", colour, said)
        band(axes[1], arms[name], "step", colour, said, scale=100)
    axes[0].set(xlabel="step", ylabel="training loss (nats)", title="bands: 95 % over seeds")
    axes[1].set(xlabel="step", ylabel="instructions followed (%)", title="bands: 95 % over seeds")
    for x, (name, (said, colour)) in enumerate(looks.items()):
        gates = sorted(n for n in arms[name][0] if n.startswith("gate "))
        layers = sorted({n.split()[1] for n in gates})
        for i, layer in enumerate(layers):
            own = [run[n] for run in arms[name] for n in gates if n.split()[1] == layer]
            places = [i + 0.24 * (x - 0.5)] * len(own)
            axes[2].plot(places, own, "o", color=colour, alpha=0.6, label=None if i else said)
        axes[2].set_xticks(range(len(layers)), [str(int(layer) + 1) for layer in layers])
    axes[2].axhline(0, color="black", linestyle="--", linewidth=1.5)
    axes[2].set(xlabel="layer with prompts, from below", ylabel="gate (tanh)", ylim=(-1.1, 1.1))
    axes[2].set_title("gates at the end, a dot a head")
    for axis in axes:
        legend_below(axis, 2)
        axis.get_legend().set_title("gates at first")
    return figure


def cost(result: Measurement) -> Figure:
    """Score against the share of parameters that is trained; and what each costs."""
    o = result.others
    names = [n.removesuffix(": share") for n in o if n.endswith(": share")]
    looks = {"LoRA": (TEXT, "s"), "V1": (IMAGE, "o"), "V2": (MATCH, "D"), FULL: ("black", "*")}
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.6, 1))
    for family, (colour, mark) in looks.items():
        own = sorted(
            (n for n in names if n.split(",")[0] == family), key=lambda n: o[f"{n}: share"]
        )
        share = [100 * o[f"{n}: share"] for n in own]
        score = [[100 * o[f"{n}: score{end}"] for n in own] for end in ("", " low", " high")]
        error = [[s - low for s, low in zip(score[0], score[1], strict=True)],
                 [high - s for s, high in zip(score[0], score[2], strict=True)]]  # fmt: skip
        axes[0].errorbar(share, score[0], error, fmt=f"{mark}-", color=colour, capsize=5,
                         markersize=9, label=family)  # fmt: skip
    enough = 100 * ENOUGH * o[f"{FULL}: score"]
    axes[0].axhline(
        enough, color="black", linestyle="--", linewidth=1.5, label="95 % of the full score"
    )
    axes[0].set(xscale="log", xlabel="trained share of the parameters (%)")
    axes[0].set_title("95 % intervals over seeds")
    percent_axis(axes[0], "instructions followed (%)")
    legend_below(axes[0], 5)
    shown = [n for n in looks if n in names and n != FULL]
    places = range(len(shown))[::-1]
    for shift, (what, label, colour) in zip(
        (0.27, 0.0, -0.27),
        (("trained", "parameters", IMAGE), ("bytes", "bytes on disk", TEXT),
         ("seconds", "time of a step", OTHER)),
        strict=True,
    ):  # fmt: skip
        parts = [100 * o[f"{n}: {what}"] / o[f"{FULL}: {what}"] for n in shown]
        axes[1].barh([p + shift for p in places], parts, 0.25, color=colour, label=label)
        for place, part in zip(places, parts, strict=True):
            axes[1].text(1.08 * part, place + shift, f"{part:.3g}", va="center", fontsize=12)
    axes[1].set_yticks(places, shown)
    axes[1].set(xscale="log", xlabel="of all parameters' (%)", xlim=(0.5, 800))
    axes[1].set_title("what it costs")
    legend_below(axes[1], 3)
    axes[1].grid(False, axis="y")
    return figure


def v2_bias(result: Measurement) -> Figure:
    """Instructions followed by kind, by version 2 and by as many parameters of prompts."""
    looks = {"V2": ("V2", MATCH, "o"), "V1, 26 prompts": ("V1, as many parameters", IMAGE, "s"),
             "V2, prompts only": ("V2's prompts alone", OTHER, "D")}  # fmt: skip
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.9, 1))
    found = by_kind(result.figure["by seed"], looks, KINDS)
    arms_by_seed(axes[0], found, list(found), looks)
    axes[0].set(xlabel="kind of instruction", title="dots: seeds")
    percent_axis(axes[0], "followed (%)")
    legend_below(axes[0], 3)
    rows = {"prompts of as many\nparameters": "own", "its prompts alone": "bare"}
    effects(axes[1], result.with_own(), rows, (MATCH, MATCH))
    axes[1].set(xlabel="points (95 % interval)", title="V2 minus …")
    return figure


def v2_disjoint(result: Measurement) -> Figure:
    """Captions and instructions of both ways of joint training, and of training on one alone."""
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.2, 1))
    words = {"disjoint": "jointly,\ndisjoint groups", "shared": "jointly,\nall shared",
             "alone": "each alone"}  # fmt: skip
    arms: Mapping[str, BY_SEED] = {name: result.figure["by seed"][name] for name in words}
    judged = {"captions": ("captions true", TEXT, "s"), **FOLLOWED}
    arms_by_seed(axes[0], arms, list(words.values()), judged)
    axes[0].set(xlabel="training", title="dots: seeds")
    percent_axis(axes[0], "%")
    legend_below(axes[0], 2, 0.3)
    rows = {
        f"{said},\nminus {name}": f"{what}, {name}"
        for what, said in (("captions", "captions"), ("score", "instructions"))
        for name in ("shared", "alone")
    }
    effects(axes[1], result, rows, (TEXT, TEXT, MATCH, MATCH))
    axes[1].set(xlabel="points (95 % interval)", title="disjoint groups minus another")
    return figure


def v2_early(result: Measurement) -> Figure:
    """Instructions about pictures by kind, early and late fusion; and the losses on the way."""
    looks = {"early": ("early", MATCH, "o"), "late": ("late", COLOURS[3], "s")}
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.6, 1))
    found = by_kind(result.figure["by seed"], looks, KINDS)
    arms_by_seed(axes[0], found, list(found), looks)
    blind = 100 * result.others["blind: score"]
    axes[0].axhline(
        blind, color="black", linestyle="--", linewidth=1.5, label="score without the picture"
    )
    axes[0].set(xlabel="kind of instruction", title="instructions about pictures, dots: seeds")
    percent_axis(axes[0], "followed (%)")
    for name, (said, colour, _) in looks.items():
        band(axes[1], result.figure["by seed"][name], "loss", colour, said)
    legend_below(axes[0], 3)
    legend_below(axes[1], 2)
    axes[1].set(xlabel="step", ylabel="training loss (nats)", title="bands: 95 % over seeds")
    axes[1].set_ylim(0)
    return figure


def v2_expert(result: Measurement) -> Figure:
    """Instructions about pictures by kind: with the picture, the caption, or both."""
    looks = {"picture": ("picture alone", IMAGE, "o"), "both": ("and the caption", MATCH, "D"),
             "caption": ("caption alone", TEXT, "s")}  # fmt: skip
    found: BY_SEED = result.figure["by seed"]["joint"]
    figure, (axis,) = new_figure(12, 4.8)
    kinds = [kind for kind in KINDS if f"both: {kind}" in found[0]]
    each = {
        kind: [{how: own[f"{how}: {kind}"] for how in looks} for own in found] for kind in kinds
    }
    arms_by_seed(axis, each, kinds, looks)
    axis.set(xlabel="kind of instruction", title="instructions about pictures, dots: seeds")
    percent_axis(axis, "followed (%)")
    legend_below(axis, 3)
    return figure


PLOTS: dict[str, Callable[[Measurement], Figure]] = {
    "adapter.zero_init": zero_init,
    "adapter.cost": cost,
    "adapter.v2_bias": v2_bias,
    "adapter.v2_disjoint": v2_disjoint,
    "adapter.v2_early": v2_early,
    "adapter.v2_expert": v2_expert,
}
