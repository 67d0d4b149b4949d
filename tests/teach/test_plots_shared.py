"""What the lectures' plots share: a frozen box, an axis of shares, marks by kind, bands, own."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch
from readable import mishaps

from vlcourse.teach import answers, claims, drawing, over_seeds, show
from vlcourse.teach.adapter import PLOTS as ADAPTER
from vlcourse.teach.blip2 import PLOTS as BLIP2
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.videochat import PLOTS as VIDEOCHAT


def test_what_is_frozen_is_white_with_a_hatched_edge() -> None:
    _, (axis,) = drawing.new_figure(4, 3)
    drawing.frozen(axis, 1, 1, 4, 2, "LLM")
    edge, inner = axis.patches
    assert edge.get_hatch() == "//" and inner.get_facecolor()[:3] == (1, 1, 1)
    assert [text.get_text() for text in axis.texts] == ["LLM"]


def test_an_axis_of_shares_reaches_as_far_as_an_interval() -> None:
    _, (axis,) = drawing.new_figure(4, 3)
    axis.errorbar([0], [50], [[70], [20]])
    drawing.percent_axis(axis, "right (%)")
    assert axis.get_ylim() == pytest.approx((-23, 103))
    assert axis.get_yticks().tolist() == [0, 20, 40, 60, 80, 100]


def test_marks_stand_side_by_side_at_their_kind() -> None:
    _, (axis,) = drawing.new_figure(4, 3)
    told = {"a": {"x": torch.ones(4), "y": torch.zeros(4)}, "b": {"y": torch.ones(4)}}
    shown = {who: answers.shares(marks) for who, marks in told.items()}
    answers.by_kind(axis, shown, [("o", "black")], apart=0.2)
    at = [(float(c[0].get_xdata()[0]), float(c[0].get_ydata()[0])) for c in axis.containers]
    assert at == [(-0.1, 100), (0.9, 0), (1.1, 100)]
    assert axis.get_legend_handles_labels()[1] == ["a", "b"]


def test_a_band_is_a_mean_over_seeds_and_kinds_come_first() -> None:
    _, (axis,) = drawing.new_figure(4, 3)
    arm = [{"loss 10": 1.0, "loss 2": 2.0}, {"loss 10": 3.0, "loss 2": 2.0}]
    over_seeds.band(axis, arm, "loss", "black", "arm", scale=10)
    assert list(axis.lines[0].get_xdata()) == [2, 10]
    assert list(axis.lines[0].get_ydata()) == [20, 20]
    found = over_seeds.by_kind({"a": arm, "b": arm}, ["b"], {"late": "loss 10"})
    assert found == {"late": [{"b": 1.0}, {"b": 3.0}]}


def test_a_measurement_has_its_own_number_among_the_others() -> None:
    others = Measurement(0.5, 0.4, 0.6, others={"else": 1.0}).with_own().others
    assert others == {"else": 1.0, "own": 0.5, "own low": 0.4, "own high": 0.6}
    with pytest.raises(ValueError, match="without an interval"):
        Measurement(0.5).with_own()


@pytest.mark.parametrize("id", [*BLIP2, *ADAPTER, *VIDEOCHAT])
def test_no_words_cover_what_is_drawn_of_a_stored_experiment(id: str) -> None:
    show.style()
    with contextlib.redirect_stdout(io.StringIO()):
        figure = claims.stored(id)
    if figure is None:
        pytest.skip("not measured yet")
    assert mishaps(figure) == []
