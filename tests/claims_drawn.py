"""The plot of a stored experiment, as a lecture shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from vlcourse.teach import claims
from vlcourse.teach.measurement import Measurement


def drawn(id: str, found: Measurement, folder: Path, capsys: pytest.CaptureFixture[str]) -> Figure:
    """Store what was found, read it back from JSON, and draw it under its row."""
    claims.store(id, found, 1.0, folder)
    figure = claims.stored(id, folder)
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    assert capsys.readouterr().out.startswith(f"{id}: ")
    return figure
