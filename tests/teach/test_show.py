"""Figures have names on their axes, refuse wrong input in words, and show code by symbol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.container import ErrorbarContainer

from vlcourse.teach import is_quick, quick, show

HISTORY = [{"step": i, "loss": 2.0 / (i + 1), "accuracy": i / 10} for i in range(10)]


@pytest.fixture(autouse=True)
def rc() -> Iterator[None]:
    with matplotlib.rc_context():
        yield


def test_style_is_readable_and_colour_blind_safe() -> None:
    show.style()
    rc = matplotlib.rcParams
    assert rc["font.size"] >= 12 and rc["figure.constrained_layout.use"]
    assert [c["color"] for c in rc["axes.prop_cycle"]][:3] == ["#0072B2", "#D55E00", "#009E73"]


def test_source_is_the_library_s_own() -> None:
    text = show.source(show.source).data
    assert text.startswith("`vlcourse/teach/show.py`, line ")
    assert "```python\ndef source(symbol: Any)" in text and text.endswith("```")
    method = show.source(Method.inner).data
    assert "```python\ndef inner(self)" in method and "\n    return 1" in method
    with pytest.raises(TypeError, match="wants a Python function"):
        show.source(len)


class Method:
    def inner(self) -> int:
        return 1


def test_grid() -> None:
    images = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 5
    figure = show.grid(images, ["a red circle"] * 5, columns=3)
    assert [axis.get_title() for axis in figure.axes[:5]] == ["a red circle"] * 5
    assert len(figure.axes) == 6 and not figure.axes[5].images
    assert show.grid([np.ones((8, 8, 3))]).axes[0].images


def test_matrix() -> None:
    figure = show.matrix(
        torch.eye(2), ["a", "b"], ["c", "d"], xlabel="text", ylabel="image", label="cosine"
    )
    axis, bar = figure.axes
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in axis.texts] == ["1.00", "0.00", "0.00", "1.00"]
    assert (axis.get_xlabel(), axis.get_ylabel(), bar.get_ylabel()) == ("text", "image", "cosine")


def test_curve() -> None:
    axis = show.curve(HISTORY, ["accuracy"], chance=0.25, ylabel="accuracy (%)", percent=True).axes[
        0
    ]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("training step", "accuracy (%)")
    assert list(axis.lines[0].get_ydata())[:3] == [0, 10, 20]
    assert list(axis.lines[1].get_ydata()) == [25, 25]
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["accuracy", "chance"]


def test_bars() -> None:
    axis = show.bars({"a": 0.5, "b": 0.25}, {"a": (0.4, 0.65)}, chance=0.1).axes[0]
    assert [patch.get_height() for patch in axis.patches] == [50, 25]
    error = next(box for box in axis.containers if isinstance(box, ErrorbarContainer))
    low, high = error.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((40, 65))
    assert axis.get_ylabel() == "accuracy (%)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: show.grid([]), "got no images"),
        (lambda: show.grid([torch.zeros(1, 4, 4)]), "image 0 has shape"),
        (lambda: show.grid([torch.full((3, 4, 4), 2.0)]), "undo the normalisation"),
        (lambda: show.grid([torch.zeros(3, 4, 4)], ["a", "b"]), "1 images but 2 captions"),
        (lambda: show.grid([torch.zeros(3, 4, 4)], columns=0), "at least one column"),
        (lambda: show.matrix(torch.zeros(2, 3), ["a"], ["b"]), "1 row names"),
        (lambda: show.matrix(np.array([["x"]]), ["a"], ["b"]), "wants numbers"),
        (lambda: show.curve(HISTORY, ["los"]), "found no 'los' in the history"),
        (lambda: show.curve(HISTORY, "loss"), "wants a list of keys"),
        (lambda: show.bars({}), "got no values"),
        (lambda: show.bars({"a": 1.0}, {"b": (0, 1)}), "which have no value"),
        (lambda: show.bars({"a": 1.0}, {"a": (0, 0.5)}), "outside its interval"),
    ],
)
def test_wrong_input_is_refused_in_words(make: Callable[[], Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        make()


@pytest.mark.parametrize(
    ("value", "short"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)]
)
def test_quick(monkeypatch: pytest.MonkeyPatch, value: str | None, short: bool) -> None:
    monkeypatch.delenv("VLCOURSE_QUICK", raising=False)
    if value is not None:
        monkeypatch.setenv("VLCOURSE_QUICK", value)
    assert is_quick() is short
    assert quick(400, 20) == (20 if short else 400)
