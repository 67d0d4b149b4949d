"""The LLaMA-Adapter lecture's figures show what they are given."""

from __future__ import annotations

import pytest
import torch

from vlcourse.teach.adapter import figures, plots


def test_prompts_stand_in_the_top_layers_only() -> None:
    left, right = figures.stack().axes
    said = [text.get_text() for text in left.texts]
    assert said.count("10 prompts") == 2 and {"layer 1", "layer 2", "layer 32"} <= set(said)
    assert "tanh(gate)" in [text.get_text() for text in right.texts]


def test_no_layer_has_prompts_and_sees_the_picture() -> None:
    (axis,) = figures.ideas().axes
    said = [text.get_text() for text in axis.texts]
    assert said.count("prompts") == 3 and said.count("b, s, norms") == 4
    assert "visual tokens" in said and any(text.startswith("4") for text in said)


def test_one_softmax_takes_from_the_text_and_two_do_not() -> None:
    figure = plots.softmaxes({"a": 1.0, "b": 0.0}, [2.0], gate=0.5)
    shares = [[bar.get_height() for bar in axis.patches] for axis in figure.axes]
    alone, joined, apart = shares
    assert alone[:2] == apart[:2] and alone[2] == 0
    assert sum(alone) == pytest.approx(100) and sum(joined) == pytest.approx(100)
    assert apart[2] == pytest.approx(50) and "text: 100 %" in figure.axes[2].get_title()


def test_starts_are_compared_with_the_llama_alone() -> None:
    (axis,) = plots.starts([0, 1], {"1 prompt": [1.0, 3.0]}, 1.0).axes
    assert list(axis.lines[0].get_ydata()) == [1.0, 3.0]
    assert [text.get_text() for text in axis.texts] == ["1 prompt", "the LLaMA alone: 1.00"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "1"]


def test_learning_is_smoothed_over_the_last_steps() -> None:
    rows = [{"step": i, "loss": loss} for i, loss in enumerate((4.0, 2.0, 0.0), start=1)]
    (axis,) = plots.learning({"zero-init": rows}, over=2).axes
    assert list(axis.lines[0].get_ydata()) == [4.0, 3.0, 1.0]


def test_each_layer_has_its_gates_by_head() -> None:
    values = torch.arange(12.0).view(3, 2, 2) / 12
    axes = plots.gates(values, first=2).axes
    assert [axis.get_title() for axis in axes] == ["layer 2", "layer 3"]
    assert list(axes[1].lines[0].get_ydata()) == pytest.approx([2 / 12, 6 / 12, 10 / 12])
    assert [t.get_text() for t in axes[1].get_legend().get_texts()] == ["head 1", "head 2"]


def test_what_is_followed_is_shown_by_kind() -> None:
    told = {who: {"count": torch.ones(4), "list": torch.zeros(4)} for who in ("a", "b")}
    (axis,) = plots.followed(told).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["count", "list"]
    assert {t.get_text() for t in axis.get_legend().get_texts()} == {"a", "b"}


def test_interference_has_a_panel_for_what_is_trained_and_one_for_what_is_not() -> None:
    rows = [
        {"step": 0, "caption": 3.0, "instruct": 0.2},
        {"step": 9, "caption": 2.0, "instruct": 1.0},
    ]
    trained, watched = plots.interference({"all": rows, "some": rows[:1]}).axes
    assert list(trained.lines[0].get_ydata()) == [3.0, 2.0]
    assert list(watched.lines[0].get_ydata()) == [0.2, 1.0]
    assert len(watched.lines) == 2


def test_costs_are_written_out() -> None:
    (axis,) = plots.costs({"all": (6.7e9, 13.4e9), "LLaMA-Adapter": (1_229_760, 4_919_040)}).axes
    assert [t.get_text() for t in axis.texts] == ["6,700.00 M, 13.4 GB", "1.23 M, 4.9 MB"]
