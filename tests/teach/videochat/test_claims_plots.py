"""The plots of VideoChat's stored experiments, drawn from numbers made up here."""

from __future__ import annotations

from pathlib import Path

import pytest
import videochat_measured as made
from matplotlib.figure import Figure

from vlcourse.teach import claims
from vlcourse.teach.videochat import plots_claims


def test_every_claim_has_a_plot() -> None:
    assert set(plots_claims.PLOTS) == set(made.ALL)


@pytest.mark.parametrize("id", plots_claims.PLOTS)
def test_a_stored_experiment_is_drawn_under_its_row(
    id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims.store(id, made.ALL[id], 1.0, tmp_path)
    figure = claims.stored(id, tmp_path)  # from JSON
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    assert all(axis.get_xlabel() for axis in figure.axes)
    assert capsys.readouterr().out.startswith(f"{id}: ")
