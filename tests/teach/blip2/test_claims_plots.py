"""The plots of BLIP-2's stored experiments, drawn from numbers made up here."""

from __future__ import annotations

from pathlib import Path

import blip2_measured as made
import pytest
from claims_drawn import drawn

from vlcourse.teach import claims
from vlcourse.teach.blip2 import plots_claims


def test_every_claim_has_a_plot() -> None:
    assert set(plots_claims.PLOTS) == set(made.ALL)


@pytest.mark.parametrize("id", plots_claims.PLOTS)
def test_a_stored_experiment_is_drawn_under_its_row(
    id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = drawn(id, made.ALL[id], tmp_path, capsys)
    assert all(axis.get_xlabel() or axis.get_ylabel() for axis in figure.axes)


def test_stage_1_is_drawn_along_the_steps() -> None:
    left, right = plots_claims.stage1(made.stage1()).axes
    by_name = {text.get_text() for text in left.get_legend().get_texts()}
    assert {"with stage 1", "without", "without, longer"} <= by_name
    assert list(left.lines[0].get_xdata()) == [200, 400, 600, 800]
    assert left.lines[0].get_ydata()[-1] == pytest.approx(70)
    assert "+10.0" in {text.get_text() for text in right.texts}


def test_queries_are_in_the_order_of_their_number_when_read_from_json(tmp_path: Path) -> None:
    claims.store("blip2.queries", made.queries(), 1.0, tmp_path)
    figure = claims.stored("blip2.queries", tmp_path)
    assert figure is not None
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["1", "2", "4", "8", "16", "32"]


def test_losses_are_in_nats_and_the_rest_in_percent() -> None:
    left, right = plots_claims.masks(made.masked()).axes
    assert left.get_ylabel() == "training loss (nats)" and right.get_ylabel() == "%"
    heights = {round(float(y), 2) for line in left.get_lines() for y in line.get_ydata()}
    assert {1.0, 0.5} <= heights
