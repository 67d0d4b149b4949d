"""The BLIP-2 lecture's figures show what they are given."""

from __future__ import annotations

import pytest
import torch
from matplotlib.colors import to_hex

from vlcourse.teach.blip2 import figures, plots

PICTURE = torch.zeros(3, 8, 8, dtype=torch.uint8)


def test_the_bridge_has_two_stages_and_frozen_ends() -> None:
    said = [text.get_text() for axis in figures.bridge().axes for text in axis.texts]
    assert said.count("image encoder\n(frozen)") == 2 and said.count("Q-Former") == 2
    assert "language model\n(frozen)" in said and "ITC   ITM   ITG" in said


def test_the_roles_differ_in_who_asks() -> None:
    fuse, connect = figures.roles().axes
    assert "words ask" in fuse.get_title() and "queries ask" in connect.get_title()
    assert [t.get_text() for t in connect.texts].count("feed forward") == 2


def test_a_mask_is_drawn_as_it_is() -> None:
    mask = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    (axis,) = figures.masks({"ITG": (mask, ["[DEC]", "ring"])}, queries=1).axes
    coloured = [p for p in axis.patches if to_hex(p.get_facecolor()) != "#f2f2f2"]
    assert len(axis.patches) == 9 and len(coloured) == 6
    assert [t.get_text() for t in axis.get_yticklabels()] == ["query 1", "[DEC]", "ring"]


def test_a_prompt_stands_where_it_is_put() -> None:
    figure = figures.prompt(["<s>", "a"], ["", "", "a", ""], queries=2, at=1)
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said.count("soft") == 2 and said.count("–100") == 3
    assert said.index("<s>") < said.index("soft")
    assert {"0", "1", "2", "3"} <= set(said)


def test_both_readers_are_frozen() -> None:
    said = [text.get_text() for axis in figures.readers().axes for text in axis.texts]
    assert said.count("decoder\n(frozen)") == 2 and said.count("encoder\n(frozen)") == 1


def test_each_query_has_its_map() -> None:
    weights = torch.eye(4).view(1, 4, 2, 2)
    figure = plots.looks([PICTURE], weights, [f"query {i}" for i in range(1, 5)])
    titles = [axis.get_title() for axis in figure.axes[:5]]
    assert titles == ["picture", "query 1", "query 2", "query 3", "query 4"]
    above = figure.axes[2].images[1]
    assert above.get_array().tolist() == weights[0, 1].tolist()


def test_what_was_reached_has_the_picture_apart() -> None:
    changed = torch.tensor([[True, False, True], [False, True, False]])
    (axis,) = plots.reached({"ITC": changed}, ["query 1", "ring"], queries=1).axes
    coloured = [p for p in axis.patches if to_hex(p.get_facecolor()) != "#f2f2f2"]
    assert len(coloured) == 3 and axis.get_xticklabels()[-1].get_text() == "picture"


def test_the_best_query_of_each_text_is_named() -> None:
    cosines = torch.tensor([[0.1, 0.9], [0.5, 0.2]])
    axis = plots.speakers(PICTURE, cosines, ["a ring", "a star"]).axes[1]
    assert [(t.get_position(), t.get_text()) for t in axis.texts] == [
        ((0, 1), "best"),
        ((1, 0), "best"),
    ]


def test_winners_are_shares_in_percent() -> None:
    (axis,) = plots.winners(torch.tensor([3, 1])).axes
    assert [bar.get_height() for bar in axis.patches] == [75, 25]


def test_sizes_are_written_out() -> None:
    (axis,) = plots.sizes({"tokens": 263_168, "queries": 24_576}).axes
    assert {t.get_text() for t in axis.texts} == {"263,168", "24,576"}


def test_answers_are_shown_by_kind_and_over_all() -> None:
    told = {who: {"colour": torch.ones(4), "shape": torch.zeros(4)} for who in ("a", "b")}
    (axis,) = plots.by_kind(told).axes
    assert [t.get_text() for t in axis.get_xticklabels()] == ["colour", "shape", "all"]
    assert {t.get_text() for t in axis.get_legend().get_texts()} == {"a", "b"}


def test_a_voice_is_compared_with_the_language_model_alone() -> None:
    (axis,) = plots.voice([{"step": 1, "loss": 3.0}, {"step": 2, "loss": 1.0}], {"alone": 2.0}).axes
    assert [t.get_text() for t in axis.texts] == ["with the picture", "alone: 2.00"]


def test_what_is_lost_on_foils_is_a_mean_over_some_steps() -> None:
    logs = {
        "one": [{"step": n, "foils": float(n)} for n in range(1, 6)],
        "other": [{"step": 1, "loss": 2.0}, {"step": 3, "foils": 0.5}, {"step": 4, "foils": 0.1}],
    }
    (axis,) = plots.bindings(logs, window=2).axes
    one, other, chance = (line.get_xydata() for line in axis.lines)
    assert one.tolist() == [[2.0, 1.5], [4.0, 3.5], [6.0, 5.0]]
    assert other.tolist() == [[4.0, pytest.approx(0.3)]]
    assert chance[0, 1] == pytest.approx(0.693, abs=1e-3)
    assert [t.get_text() for t in axis.texts] == ["one", "other", "chance"]
