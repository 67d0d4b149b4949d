"""The plots of the stored experiments: what they draw, and what they say when there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_measured
import numpy as np
import pytest
from matplotlib.figure import Figure

from vlcourse.teach import claims
from vlcourse.teach.clip import plots_claims
from vlcourse.teach.measurement import Measurement

SEEDS = (0, 1, 2)
ARMS = ("contrastive", "bag of words", "language model")
FOILS = ("swapped relation", "swapped attribute", "replaced attribute")
KINDS = (
    "captions, one generator", "labels, one generator", "captions, varied", "labels, varied",
)  # fmt: skip
TESTS = ("test", "background", "size", "noise")
WAYS = ("bare name", "one template", "ensemble")
PROBE = {"zero-shot": 0.9, "probe 1": 0.6, "probe 16": 0.95, "scratch 1": 0.2, "scratch 16": 0.7}

# The shapes that vlcourse/teach/*/experiments give, with numbers made up here.
FIGURES: dict[str, dict[str, Any]] = {
    "clip.efficiency": {
        kind: {
            "accuracy by images seen": {arm: [[[1280, 0.1], [2560, 0.6]]] * 3 for arm in arms},
            "censored": {arm: 2 * (arm == "language model") for arm in arms},
            "threshold": goal,
        }
        for kind, arms, goal in (("plain", ARMS, 0.5), ("rich", ARMS[:2], 0.3))
    },
    "clip.robust": {
        "accuracy by seed": {arm: [{test: 0.8 for test in TESTS}] * 3 for arm in KINDS}
    },
    "clip.prompts": {
        "accuracy by prompt": {name: dict.fromkeys(WAYS, 0.5) for name in ("toy world", "CIFAR-10")}
    },
    "clip.linear_probe": {
        "labels a class": [1, 16],
        "accuracy": PROBE,
        "interval": {name: [value - 0.02, value + 0.02] for name, value in PROBE.items()},
    },
    "clip.limits": {
        "accuracy by foil": dict.fromkeys(FOILS, 0.6),
        "interval by foil": dict.fromkeys(FOILS, [0.55, 0.65]),
    },
    "clip.real": {
        "accuracy by class": {"cat": 0.5, "dog": 0.6},
        "accuracy by class, some left out": {"cat": 0.1, "dog": 0.6},
        "left out": ["cat"],
    },
    **llama_measured.STORED,
}
EFFECTS = (
    "language model, plain", "contrastive, plain", "contrastive, plain, goal of rich",
    "contrastive, rich", "objective, one generator", "objective, varied", "variety, captions",
    "variety, labels", "one template − bare name", "ensemble − one template",
    "CIFAR-10 one template − bare name", "CIFAR-10 ensemble − one template",
)  # fmt: skip
OTHERS = {
    "goal, plain": 0.5, "goal, rich": 0.3, "censored": 2.0, "censored contrastive": 0.0,
    "replaced attribute": 0.9, "replaced attribute low": 0.85, "swapped attribute low": 0.55,
    "swapped attribute high": 0.65, "left out": 0.1, "left out low": 0.05, "left out high": 0.15,
    **{
        name + end: 1.5 + n + by
        for n, name in enumerate(EFFECTS)
        for end, by in (("", 0.0), (" low", -0.25), (" high", 0.5))
    },
    **llama_measured.OTHERS,
}  # fmt: skip


def measured(id: str) -> Measurement:
    interval = (0.2, 0.1, 0.3) if id.startswith("llama.") else (2.0, 1.5, 2.5)
    return Measurement(*interval, SEEDS, others=OTHERS, figure=FIGURES[id])


def texts(figure: Figure) -> str:
    """Everything that is written on the axes of a figure."""
    said = []
    for axis in figure.axes:
        said += [axis.get_title(), axis.get_xlabel(), axis.get_ylabel()]
        said += [label.get_text() for label in (*axis.get_xticklabels(), *axis.get_yticklabels())]
        if legend := axis.get_legend():
            said += [text.get_text() for text in legend.get_texts()]
    return " ".join(said)


@pytest.mark.parametrize("id", plots_claims.PLOTS)
def test_a_stored_experiment_is_drawn_under_its_row(
    id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims.store(id, measured(id), 1.0, tmp_path)
    figure = claims.stored(id, tmp_path)
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    assert all(axis.get_xlabel() or axis.get_ylabel() for axis in figure.axes)
    said = capsys.readouterr().out
    assert said.startswith(f"{id}: ") and max(map(len, said.splitlines())) < 100


@pytest.mark.parametrize("id", plots_claims.PLOTS)
def test_an_experiment_that_was_not_run_is_said_to_be_missing(
    id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claims.stored(id, tmp_path) is None
    assert "not measured yet" in capsys.readouterr().out


def test_every_claim_with_a_plot_is_a_claim() -> None:
    for id in plots_claims.PLOTS:
        assert claims.get(id).id == id


def test_efficiency_says_which_runs_never_got_there() -> None:
    figure = plots_claims.efficiency(measured("clip.efficiency"))
    plain, rich = ([text.get_text() for text in axis.texts] for axis in figure.axes[:2])
    assert any("language model (2 not there)" in text for text in plain)
    assert sum("not there" in text for text in plain + rich) == 1


@pytest.mark.parametrize(
    ("plot", "panel", "name", "scale"),
    [
        (plots_claims.efficiency, 2, "contrastive, rich", 1),
        (plots_claims.robust, 1, "variety, labels", 100),
        (plots_claims.prompts, 0, "ensemble − one template", 100),
        (plots_claims.prompts, 1, "CIFAR-10 ensemble − one template", 100),
    ],
)
def test_the_last_effect_is_drawn_at_the_bottom_with_its_interval(
    plot: Callable[[Measurement], Figure], panel: int, name: str, scale: float
) -> None:
    id = f"clip.{plot.__name__}"
    bars = plot(measured(id)).axes[panel].containers[-1]
    (point, _, (span,)) = bars.lines
    assert point.get_xdata()[0] == pytest.approx(scale * OTHERS[name])
    assert point.get_ydata()[0] == 0
    ends = span.get_segments()[0][:, 0].tolist()
    assert ends == pytest.approx([scale * OTHERS[f"{name} {end}"] for end in ("low", "high")])


@pytest.mark.parametrize(
    ("low", "value", "high"),
    [(-0.01, 0.0, 0.01), (-0.02, -0.011, -0.001), (0.001, 0.2, 0.3), (-0.3, 0.001, 0.1)],
)
def test_no_number_is_written_on_the_line_of_no_effect(
    low: float, value: float, high: float
) -> None:
    name = "one template − bare name"
    others = {**OTHERS, name: value, f"{name} low": low, f"{name} high": high}
    found = Measurement(0.0, others=others, figure=FIGURES["clip.prompts"])
    figure = plots_claims.prompts(found)
    figure.canvas.draw()
    axis = figure.axes[0]
    written = axis.texts[0].get_window_extent()
    zero = axis.transData.transform((0, 0))[0]
    assert not written.x0 - 3 <= zero <= written.x1 + 3


def test_real_marks_the_classes_left_out_only_where_there_are_some() -> None:
    assert "trained without cat" in texts(plots_claims.real(measured("clip.real")))
    plain = Measurement(0.6, figure={"accuracy by class": {"cat": 0.5, "dog": 0.6}})
    assert "trained without" not in texts(plots_claims.real(plain))


def test_the_probe_plot_shows_what_was_measured() -> None:
    axis = plots_claims.linear_probe(measured("clip.linear_probe")).axes[0]
    heights = [np.asarray(line.get_ydata()).tolist() for line in axis.get_lines()]
    assert [60.0, 95.0] in heights
    assert [20.0, 70.0] in heights
