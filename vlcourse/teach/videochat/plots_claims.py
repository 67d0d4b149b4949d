"""The plots of VideoChat's stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import mean
from typing import TYPE_CHECKING

from vlcourse.data.world.video_questions import VIDEO_KINDS
from vlcourse.evals.metrics import seed_interval
from vlcourse.evals.video import near
from vlcourse.teach.blip.plots_claims import arms_by_seed
from vlcourse.teach.blip2 import plots
from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.clip.plots_claims import effects
from vlcourse.teach.drawing import legend_below, new_figure, percent_axis
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.over_seeds import BY_SEED, band, by_kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = {
    "all frames": ("all frames", MATCH, "o"), "middle frame": ("middle frame", OTHER, "s"),
    "mean of frames": ("mean of frames", IMAGE, "^"),
    "token sees the mean": ("token told the mean", IMAGE, "^"),
    "no local": ("no local aggregator", OTHER, "s"),
    "two stages": ("two stages", MATCH, "o"), "one stage": ("one stage", OTHER, "s"),
}  # fmt: skip


def _kinds(found: Mapping[str, float], last: str) -> dict[str, str]:
    """The kinds of question that were asked, ``last`` for several of them; and their numbers."""
    return {kind: near(kind) for kind in VIDEO_KINDS if kind in found} | {last: last}


def temporal(result: Measurement) -> Figure:
    """By kind of question: the systems as they ship, and the arms that see less."""
    shown, o, arms = result.figure["by kind"], result.others, result.figure["by seed"]
    ends = ("", " low", " high")
    kinds = [kind for kind in VIDEO_KINDS if kind in shown["Embed"]]
    table: dict[str, dict[str, list[float]]] = {}
    for name, words in (("Embed", "VideoChat-Embed"), ("Text", "VideoChat-Text, toy tools"),
                        ("language model alone", "language model alone")):  # fmt: skip
        each = {kind: list(shown[name][near(kind)]) for kind in kinds}
        table[words] = {**each, "about time": [o[f"{name}: temporal{end}"] for end in ends]}
    for name in ("middle frame", "mean of frames"):
        found = {kind: [own[near(kind)] for own in arms[name]] for kind in kinds}
        each = {kind: [mean(values), *seed_interval(values)] for kind, values in found.items()}
        about = [o[f"{name}: temporal{end}"] for end in ends]
        table[f"trained on the {name}"] = {**each, "about time": about}
    return plots.answered(table, "kind of question (95 % intervals)")


def text_loses(result: Measurement) -> Figure:
    """By kind of question: events told, perfect tags, and the toy tools, read alike."""
    shown, o = result.figure["by kind"], result.others
    table = {
        name: {
            **{kind: list(shown[name][kind]) for kind in VIDEO_KINDS},
            "about time": [o[f"{name}: temporal{end}"] for end in ("", " low", " high")],
        }
        for name in ("events told", "perfect tags", "toy tools")
    }
    return plots.answered(table, "kind of question (95 % intervals over questions)")


def gmhra(result: Measurement) -> Figure:
    """By kind of question, three aggregators; and what separates them."""
    names = ("all frames", "token sees the mean", "no local")
    looks = {name: LOOKS[name] for name in names} | {"all frames": ("token looks", MATCH, "o")}
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.9, 1))
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    found = by_kind(arms, names, _kinds(arms[names[0]][0], "temporal"))
    arms_by_seed(axes[0], found, list(found), looks)
    axes[0].set(xlabel="kind of question", title="dots: seeds")
    percent_axis(axes[0], "answered right (%)")
    legend_below(axes[0], 3)
    rows = {"a token that is\ntold the mean": "own", "no local\naggregator": "local"}
    effects(axes[1], result.with_own(), rows, (MATCH, OTHER))
    axes[1].set(xlabel="points (95 % interval)", title="about time, all minus …")
    return figure


def timestamps(result: Measurement) -> Figure:
    """How far answers about time are off, by the film's length and over all films."""
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    looks = {"all frames": ("seconds", MATCH, "o"), "order": ("order", OTHER, "s"),
             "order and sentence": ("order and sentence", TEXT, "^")}  # fmt: skip
    lengths = sorted(int(n.split()[1]) for n in arms["order"][0] if n.startswith("off "))
    figure, axes = new_figure(14, 4.6, 2, width_ratios=(1.6, 1))
    for name, (said, colour, mark) in looks.items():
        values = [mean(own[f"off {n}"] for own in arms[name]) for n in lengths]
        axes[0].plot(lengths, values, f"{mark}-", color=colour, label=said)
    axes[0].set_xticks(lengths)
    axes[0].set(xlabel="length of the film (s)", ylabel="answers are off by (s)", ylim=(0, None))
    legend_below(axes[0], 3)
    rows = {"order, minus seconds": "own", "order, minus with\nthe sentence": "sentence"}
    effects(axes[1], result.with_own(), rows, (MATCH, TEXT), scale=1)
    axes[1].set(xlabel="seconds (95 % interval)", title="how much farther off")
    return figure


def stages(result: Measurement) -> Figure:
    """By kind of question, both arms; and the loss while chats are learned."""
    names = ("two stages", "one stage")
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.6, 1))
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    found = by_kind(arms, names, _kinds(arms[names[0]][0], "mean"))
    arms_by_seed(axes[0], found, list(found), {name: LOOKS[name] for name in names})
    axes[0].set(xlabel="kind of question", title="dots: seeds")
    percent_axis(axes[0], "answered right (%)")
    for name in reversed(names):
        said, colour, _ = LOOKS[name]
        band(axes[1], arms[name], "loss", colour, said)
    axes[1].set(xlabel="step of chats", ylabel="training loss (nats)")
    axes[1].set_title("bands: 95 % over seeds")
    for axis in axes:
        legend_below(axis, 2)
    return figure


PLOTS: dict[str, Callable[[Measurement], Figure]] = {
    "videochat.temporal": temporal,
    "videochat.text_loses": text_loses,
    "videochat.gmhra": gmhra,
    "videochat.timestamps": timestamps,
    "videochat.stages": stages,
}
