"""The plots of CapFilt's stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vlcourse.teach.blip.plots_claims import JUDGED, arms_by_seed
from vlcourse.teach.clip.figures import MATCH, OTHER, TEXT
from vlcourse.teach.clip.plots_claims import effects
from vlcourse.teach.drawing import new_figure
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.over_seeds import BY_SEED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {
    "web": "noisy web", "filter": "filter", "captioner": "captioner", "both": "both",
    "beam": "beam", "shared": "shared",
}  # fmt: skip


def capfilt(result: Measurement) -> Figure:
    """What is learned from each of the four data sets, and what both together gain."""
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    figure, axes = new_figure(15, 4.8, 2, width_ratios=(1.3, 1))
    names = [f"{NAMES[way]}\n({result.others[f'{way}: pairs']:,.0f} pairs)" for way in arms]
    arms_by_seed(axes[0], arms, names)
    axes[0].set(title="after as many steps on each data set (dots: seeds)")
    axes[0].legend()
    _gains(axes[1], result, "captioner and filter − noisy web")
    return figure


def diversity(result: Measurement) -> Figure:
    """What captions from the nucleus gain over those of beam search, and what these are like."""
    return _two(result, {"both": "nucleus", "beam": "beam search"})


def decouple(result: Measurement) -> Figure:
    """What two models gain over one that is both, and what their captions are like."""
    return _two(result, {"both": "apart", "shared": "one model"})


def _two(result: Measurement, ways: Mapping[str, str]) -> Figure:
    """The synthetic texts of two ways; what is learned from each; and the difference."""
    arms: Mapping[str, BY_SEED] = result.figure["by seed"]
    texts: Mapping[str, BY_SEED] = result.figure["filter by seed"]
    figure, axes = new_figure(17, 4.8, 3, width_ratios=(1.1, 1, 1))
    shown = {"true": "true", "dropped": "dropped by\nthe filter", "distinct": "different"}
    by_share = {
        share: [
            {way: texts[f"{way} texts"][seed][share] for way in ways}
            for seed in range(len(texts["both texts"]))
        ]
        for share in shown
    }
    colours = dict(zip(ways, ((MATCH, "o"), (OTHER, "s")), strict=True))
    judged = {way: (ways[way], *colours[way]) for way in ways}
    arms_by_seed(axes[0], by_share, list(shown.values()), judged)
    axes[0].set(ylabel="share of the synthetic texts (%)", ylim=(-3, 103), title="dots: seeds")
    axes[0].legend()
    arms_by_seed(axes[1], {way: arms[way] for way in ways}, list(ways.values()))
    axes[1].set(title="what is learned from them")
    axes[1].legend()
    _gains(axes[2], result, " − ".join(ways.values()))
    return figure


def _gains(axis: Axes, result: Measurement, title: str) -> None:
    """The differences as they come from the pretraining, and after fine-tuning."""
    rows = {
        f"{label}{words}": f"gain: {name}{end}"
        for end, words in (("", ""), (", fine-tuned", ",\nfine-tuned on clean"))
        for name, (label, _, _) in JUDGED.items()
    }
    effects(axis, result, rows, (MATCH, TEXT, MATCH, TEXT))
    axis.set(xlabel="points gained (95 % interval)", title=title)


PLOTS: dict[str, Callable[[Measurement], Figure]] = {
    "blip.capfilt": capfilt,
    "blip.diversity": diversity,
    "blip.decouple": decouple,
}
