"""The plots of VideoChat's stored experiments, drawn from numbers made up here."""

from __future__ import annotations

from pathlib import Path

import pytest
import videochat_measured as made
from claims_drawn import drawn

from vlcourse.teach.videochat import plots_claims


def test_every_claim_has_a_plot() -> None:
    assert set(plots_claims.PLOTS) == set(made.ALL)


@pytest.mark.parametrize("id", plots_claims.PLOTS)
def test_a_stored_experiment_is_drawn_under_its_row(
    id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = drawn(id, made.ALL[id], tmp_path, capsys)
    assert all(axis.get_xlabel() for axis in figure.axes)
