"""The plots of BLIP's and CapFilt's stored experiments, drawn from numbers made up here."""

from __future__ import annotations

from pathlib import Path

import blip_measured as made
import numpy as np
import pytest
from claims_drawn import drawn
from matplotlib.axes import Axes

from vlcourse.teach import claims
from vlcourse.teach.blip import plots_claims
from vlcourse.teach.capfilt import plots_claims as capfilt_plots

PLOTS = plots_claims.PLOTS | capfilt_plots.PLOTS


def heights(axis: Axes) -> list[float]:
    """Every y of the lines on an axis, rounded."""
    return [round(float(y), 2) for line in axis.get_lines() for y in np.ravel(line.get_ydata())]


def ticks(axis: Axes) -> str:
    """What is written along both sides of an axis."""
    labels = [*axis.get_xticklabels(), *axis.get_yticklabels()]
    return " | ".join(label.get_text().replace("\n", " ") for label in labels)


def test_every_claim_has_a_plot_and_made_up_numbers() -> None:
    assert set(PLOTS) == set(made.ALL)
    assert all(claims.get(id).id == id for id in PLOTS)


@pytest.mark.parametrize("id", PLOTS)
def test_a_stored_experiment_is_drawn_under_its_row(
    id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = drawn(id, made.ALL[id], tmp_path, capsys)
    assert all(axis.get_xlabel() or axis.get_ylabel() for axis in figure.axes)


def test_sharing_shows_each_kind_its_size_and_its_seeds() -> None:
    left, right = plots_claims.sharing(made.ALL["blip.sharing"]).axes
    assert "all but self-attention (50 %)" in ticks(left) and "nothing (100 %)" in ticks(left)
    assert {84.0, 85.0, 86.0} <= set(heights(left))  # the seeds of sharing all, in recall
    assert len(right.get_yticklabels()) == 6 and "recall@1, against all but CA" in ticks(right)


def test_hard_negatives_shows_both_arms_by_foil() -> None:
    left, _ = plots_claims.hard_negatives(made.ALL["blip.hard_negatives"]).axes
    assert "swapped relation" in ticks(left)
    assert {79.0, 80.0, 81.0, 59.0, 60.0, 61.0} <= set(heights(left))


def test_rerank_begins_with_none_and_has_a_line_a_seed() -> None:
    left, right = plots_claims.rerank(made.ALL["blip.rerank"]).axes
    assert ticks(left).startswith("none | 1 | 2 | 4")
    assert heights(left)[: len(made.TRIED)] == [80 + 0.5 * i for i in range(len(made.TRIED))]
    assert heights(right) == [81.0, 84.0, 82.0, 85.0, 83.0, 86.0]


def test_tasks_has_a_bar_and_a_line_of_not_looking_each() -> None:
    left, _ = plots_claims.tasks(made.four(relations=0.8)).axes
    widths = [round(bar.get_width(), 6) for bar in left.patches]  # type: ignore[attr-defined]
    assert widths == [90, 80, 90, 90]
    lines = {round(float(np.ravel(line.get_xdata())[0]), 2) for line in left.get_lines()}
    assert {0.4, 50.0, 10.0, 40.0} <= lines


def test_capfilt_shows_what_is_learned_and_the_number_of_pairs() -> None:
    left, right = capfilt_plots.capfilt(made.ALL["blip.capfilt"]).axes
    assert "noisy web (9,000 pairs)" in ticks(left) and "both (9,000 pairs)" in ticks(left)
    assert {89.0, 90.0, 91.0, 79.0, 80.0, 81.0} <= set(heights(left))
    assert "true captions, fine-tuned on clean" in ticks(right)


def test_two_ways_are_shown_by_their_texts_and_what_is_learned() -> None:
    texts, learned, gains = capfilt_plots.diversity(made.ALL["blip.diversity"]).axes
    assert {19.0, 20.0, 21.0, 4.0, 5.0, 6.0, 85.0, 95.0} <= set(heights(texts))
    assert "nucleus | beam search" in ticks(learned)
    assert gains.get_title() == "nucleus − beam search"
    decoupled = capfilt_plots.decouple(made.ALL["blip.decouple"])
    assert "apart | one model" in ticks(decoupled.axes[1])


def test_rerank_counts_from_few_to_many_when_read_from_json(tmp_path: Path) -> None:
    claims.store("blip.rerank", made.ALL["blip.rerank"], 1.0, tmp_path)
    figure = claims.stored("blip.rerank", tmp_path)
    assert figure is not None
    wanted = ["none", *map(str, made.TRIED[1:])]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == wanted
