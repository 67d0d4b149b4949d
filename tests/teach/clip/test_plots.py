"""The CLIP lecture's plots show the numbers they are given, in the colours that these name."""

from __future__ import annotations

import math

import pytest
import torch
from matplotlib.colors import to_hex

from vlcourse.data import world
from vlcourse.teach.clip import plots, plots_use


def test_a_log_is_drawn_over_a_log_axis_beside_chance_with_only_what_was_measured() -> None:
    log = [{"step": 1, "loss": 5.0}, {"step": 10, "loss": 3.0}]
    log += [{"step": 100, "loss": 1.0, "seen": 0.9, "heldout": 0.7, "text_to_image": 0.4}]
    loss, right = plots.training_log(log, chance=math.log(128)).axes
    curve, chance = loss.lines
    assert list(curve.get_xdata()) == [1, 10, 100] and list(curve.get_ydata()) == [5, 3, 1]
    assert chance.get_ydata()[0] == pytest.approx(math.log(128))
    assert loss.get_xscale() == "log"
    assert {t.get_text(): t.xy for t in right.texts} == {
        "seen compositions": (100, 90.0),
        "held-out compositions": (100, 70.0),
    }


def test_rows_of_the_two_matrices_are_images_and_columns_texts() -> None:
    before, after = torch.zeros(2, 2), torch.tensor([[0.9, 0.1], [-0.2, 0.8]])
    pictures = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    figure = plots.before_after(before, after, pictures, ["a red ring", "a star"])
    axis = next(axis for axis in figure.axes if axis.get_title() == "trained")
    said = {t.get_position(): t.get_text() for t in axis.texts}  # (column, row)
    assert said[(0, 1)] == "-0.20" and said[(1, 0)] == "0.10"
    assert axis.get_xlabel() == "texts"


def test_the_parts_of_an_untrained_loss_add_up_to_it() -> None:
    axis = plots.batch_size(
        {2: 0.8, 8: 2.5}, {2: (1.0, 1.0, 1.0)} | {4**k: (0.5, 0.4, 0.6) for k in (1, 2, 3)}
    ).axes[0]
    guess, rest = axis.containers
    tops = [bar.get_y() + bar.get_height() for bar in rest]
    assert [bar.get_height() for bar in guess] == pytest.approx([math.log(2), math.log(8)])
    assert tops == pytest.approx([0.8, 2.5])


def test_a_class_has_the_colour_that_it_names_and_the_right_one_a_tick() -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    probability = torch.linspace(0, 1, len(world.CLASSES))[None]
    label = len(world.CLASSES) - 2
    axis = plots_use.best_classes(images, probability, torch.tensor([label]), best=3).axes[1]
    painted = [to_hex(bar.get_facecolor()) for bar in axis.patches]
    wanted = [plots_use.paint(world.CLASSES[-k][0]) for k in (1, 2, 3)]
    assert painted == wanted
    assert ["✓" in text.get_text() for text in axis.texts] == [False, True, False]


def test_paint_is_the_colour_of_the_pictures() -> None:
    red, green, blue = world.RGB["pink"]
    assert plots_use.paint("pink") == f"#{red:02x}{green:02x}{blue:02x}"


def test_ranked_bars_go_from_best_to_worst_with_their_intervals() -> None:
    hits = {"weak": torch.tensor([1.0, 0, 0, 0]), "strong": torch.ones(4)}
    (axis,) = plots_use.ranked(hits, 0.1, "right (%)").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["strong", "weak"]
    widths = [bar.get_width() for bar in axis.patches]
    assert widths == [100, 25]
    assert [text.get_text() for text in axis.texts] == ["100 (4)", "25 (4)"]
