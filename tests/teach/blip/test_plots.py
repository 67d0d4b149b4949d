"""The BLIP lecture's figures show what they are given."""

from __future__ import annotations

import pytest
import torch

from vlcourse.teach.blip import figures, plots

PICTURE = torch.zeros(3, 8, 8, dtype=torch.uint8)


def test_the_decoder_sees_backwards_and_only_two_modes_see_the_image() -> None:
    figure = figures.masks(["[CLS]", "a", "ring"], image_tokens=2)
    grey = "#f2f2f2"
    open_cells = []
    for axis in figure.axes:
        painted = [p for p in axis.patches if _hex(p.get_facecolor()) != grey]
        open_cells.append(
            (sum(p.get_x() < 3 for p in painted), sum(p.get_x() > 3 for p in painted))
        )
    assert open_cells == [(9, 0), (9, 6), (6, 6)]
    firsts = [axis.get_yticklabels()[0].get_text() for axis in figure.axes]
    assert firsts == ["[CLS]", "[ENC]", "[DEC]"]


def _hex(colour: tuple[float, ...]) -> str:
    from matplotlib.colors import to_hex

    return to_hex(colour)


def test_figure_2_has_three_losses_and_two_kinds_of_self_attention() -> None:
    said = [text.get_text() for text in figures.med().axes[0].texts]
    assert {"ITC", "ITM", "LM"} <= set(said)
    assert said.count("cross-attention") == 2 and said.count("feed forward") == 4
    assert said.count("self-attention\nboth ways") == 2
    assert said.count("self-attention\nbackwards only") == 1


def test_what_is_not_learned_is_minus_100() -> None:
    said = [t.get_text() for t in figures.targets(["[DEC]", "a"], ["a", ""]).axes[0].texts]
    assert said.count("–100") == 1 and said.count("a") == 2


def test_the_writer_of_answers_looks_at_the_question() -> None:
    assert "the question's states" in [t.get_text() for t in figures.answering().axes[0].texts]


def test_soft_targets_are_sorted_and_the_bars_are_their_percents() -> None:
    labels, teacher = torch.tensor([0.0, 1.0]), torch.tensor([0.75, 0.25])
    mixed = 0.5 * labels + 0.5 * teacher
    _, *axes = plots.soft(PICTURE, labels, teacher, mixed, ["a ring", "a star"]).axes
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a star", "a ring"]
    widths = [[bar.get_width() for bar in axis.patches] for axis in axes]
    assert widths == [[100, 0], [25, 75], [62.5, 37.5]]


def test_negatives_show_the_caption_and_its_probability() -> None:
    figure = plots.negatives(PICTURE[None], ["a red ring"], {"hard": [("a red star", 0.25)]})
    said = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert said == ["a red ring", "a red star\n(25.0%)"]
    assert [axis.get_title() for axis in figure.axes] == ["picture", "its caption", "hard"]


def test_a_heat_map_lies_over_the_whole_picture() -> None:
    weights = torch.eye(4).view(2, 2, 4)[:, :, :2]  # (words, 2, 2)
    figure = plots.heat(PICTURE, ["red", "ring"], weights)
    below, above = figure.axes[1].images
    assert list(above.get_extent()) == [-0.5, 7.5, 7.5, -0.5]
    assert above.get_array().tolist() == weights[0].tolist()
    assert below.get_array().shape == (8, 8, 3) and figure.axes[2].get_title() == "ring"


def test_a_log_shows_the_sum_and_the_parts_that_it_has() -> None:
    log = [{"step": 1, "loss": 15.0}, {"step": 9, "loss": 3.0, "true": 0.5, "text_to_image": 1.0}]
    left, right = plots.training_log(log, {"knowing nothing": 14.9}).axes
    assert [text.get_text() for text in left.texts] == ["sum", "knowing nothing: 14.90"]
    assert {t.get_text() for t in right.get_legend().get_texts()} == {
        "recall@1, re-ranked",
        "captions true",
    }
    parts = [row | {"itc": 7.0, "itm": 0.6, "lm": 6.0} for row in log]
    left = plots.training_log(parts, {}).axes[0]
    assert [text.get_text() for text in left.texts] == ["sum", "ITC", "ITM", "LM"]
    foiled = [row | {"foils": 0.7, "swapped relation": 0.9} for row in parts]
    left, right = plots.training_log(foiled, {}).axes
    assert left.texts[-1].get_text() == "foils" and left.lines[-1].get_ydata()[0] == 0.7
    assert right.lines[-1].get_ydata()[-1] == 90


def test_each_loss_has_its_own_axis_and_its_own_levels() -> None:
    rows = [{"step": i, "itc": 3.0, "itm": 0.6, "lm": 6.0 / i} for i in (1, 2)]
    levels = {"itc": {"chance": 3.5}, "itm": {"chance": 0.64}, "lm": {"chance": 6.6, "best": 1.0}}
    axes = plots.losses(rows, levels).axes
    assert [axis.get_title() for axis in axes] == ["ITC", "ITM", "LM"]
    assert [text.get_text() for text in axes[2].texts] == ["chance: 6.60", "best: 1.00"]
    assert list(axes[2].lines[0].get_ydata()) == [6.0, 3.0]


def test_ramps_and_ranks() -> None:
    left, right = plots.ramps({"0.5": 0.5 ** torch.arange(3)}, torch.tensor([0.0, 0.4])).axes
    assert left.lines[0].get_ydata().tolist() == [100, 50, 25]
    assert right.lines[0].get_ydata().tolist() == pytest.approx([0.0, 0.4])
    (axis,) = plots.moved([0, 3, 1], [0, 0, 2]).axes
    assert axis.get_title() == "1 texts do better, 1 worse, 1 as before"
    assert [line.get_ydata().tolist() for line in axis.lines] == [[4, 1], [2, 3]]
