"""The plots of the adapters' stored experiments, drawn from numbers made up here."""

from __future__ import annotations

from pathlib import Path

import adapter_measured as made
import pytest
from claims_drawn import drawn

from vlcourse.teach.adapter import plots_claims


def test_every_claim_has_a_plot() -> None:
    assert set(plots_claims.PLOTS) == set(made.ALL)


@pytest.mark.parametrize("id", plots_claims.PLOTS)
def test_a_stored_experiment_is_drawn_under_its_row(
    id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = drawn(id, made.ALL[id], tmp_path, capsys)
    assert all(axis.get_xlabel() for axis in figure.axes)


def test_score_is_drawn_against_the_share_from_small_to_large() -> None:
    curve = plots_claims.cost(made.cost()).axes[0]
    lines = {c.get_label(): c.lines[0] for c in curve.containers if c.get_label() != "_nolegend_"}
    assert list(lines["LoRA"].get_xdata()) == pytest.approx([0.3, 1.3, 5.3])
    assert list(lines["LoRA"].get_ydata()) == pytest.approx([50, 90, 50])
    assert list(lines["all parameters"].get_xdata()) == [100]


def test_gates_are_drawn_by_layer_and_the_loss_along_the_steps() -> None:
    loss, _, gates = plots_claims.zero_init(made.zero_init()).axes
    assert list(loss.lines[0].get_xdata()) == [50, 100, 150, 200]
    heights = {round(float(y), 1) for line in gates.lines for y in line.get_ydata()}
    assert heights == {0.4, -0.8, 0.0}
