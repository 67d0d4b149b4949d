"""The CapFilt lecture's figures show what they are given: verdicts, shares, and who said what."""

from __future__ import annotations

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from vlcourse.teach.capfilt import figures, plots

PICTURE = torch.zeros(3, 8, 8, dtype=torch.uint8)


def said(axis: Axes) -> dict[str, str]:
    """The texts of an axis, with their colours."""
    return {t.get_text().replace("\n", " "): to_hex(t.get_color()) for t in axis.texts}


def test_each_kind_of_noise_is_named_with_its_texts_and_what_it_counts_as() -> None:
    examples = {"clean": [(PICTURE, "a red ring")], "camera": [(PICTURE, "ISO 100, f/2.8")]}
    (axis,) = figures.noise(examples, true=("clean",)).axes
    found = said(axis)
    assert {"clean", "true", "camera", "noise", "a red ring", "ISO 100, f/2.8"} == set(found)
    assert found["clean"] == figures.KEPT.lower() and found["camera"] == figures.WEB.lower()
    assert len(axis.images) == 2


def test_a_data_set_shows_both_texts_with_their_verdicts() -> None:
    rows = [
        {"picture": 0, "text": "IMG_1.jpg", "origin": "web", "kept": False},
        {"picture": 0, "text": "a ring", "origin": "synthetic", "kept": True},
        {"picture": 1, "text": "a star", "origin": "web", "kept": True},
    ]
    (axis,) = figures.dataset([PICTURE, PICTURE], ["IMG_1.jpg", "a star"], rows).axes
    found = said(axis)
    assert found["web: IMG_1.jpg"] == figures.DROPPED.lower()
    assert found["synthetic: a ring"] == figures.SYNTHETIC.lower()
    assert found["web: a star"] == figures.WEB.lower()
    assert [t.get_text() for t in axis.texts if t.get_text() in "✓✗"] == ["✗", "✓", "✓"]


def test_bytes_that_are_no_characters_are_drawn_as_a_sign() -> None:
    assert figures.printable("a\x07 rosé ring\ufffd🄰") == "a� rosé ring��"


def test_the_pipeline_names_both_models_and_both_texts() -> None:
    (axis,) = figures.pipeline().axes
    words = " ".join(said(axis))
    assert all(name in words for name in ("captioner", "filter", "$T_w$", "$T_s$", "afresh"))


def test_a_control_sample_is_a_picture_its_edges_and_a_prompt() -> None:
    edges = torch.eye(8)
    shown, control, prompt = figures.control(PICTURE, edges, "a red ring").axes
    assert shown.images[0].get_array().shape == (8, 8, 3)
    assert (control.images[0].get_array() == edges.numpy()).all()
    assert "“a red ring”" in said(prompt)


def test_scores_are_counted_above_the_threshold_only() -> None:
    values = {"clean": [0.9, 0.8, 0.5, 0.1], "camera": [0.0]}
    (axis,) = plots.scores(values, true=("clean",)).axes
    assert {"50 % kept", "0 % kept"} == set(said(axis))
    assert [t.get_text() for t in axis.get_yticklabels()] == ["clean (true)", "camera (noise)"]
    assert sorted(axis.collections[0].get_offsets()[:, 0]) == pytest.approx([0.1, 0.5, 0.8, 0.9])


def test_the_dot_on_the_curve_is_precision_and_recall_at_the_threshold() -> None:
    probability = torch.tensor([0.9, 0.8, 0.7, 0.2])
    true = torch.tensor([True, False, True, True])
    (axis,) = plots.sweep({"web": (probability, true)}).axes
    curve, dot = axis.lines
    assert dot.get_xdata() == pytest.approx([200 / 3]) and dot.get_ydata() == pytest.approx(
        [200 / 3]
    )
    assert list(curve.get_ydata()) == pytest.approx([100, 50, 200 / 3, 75])


def test_a_token_outside_of_the_nucleus_is_said_to_be_so() -> None:
    shown, axis = plots.next_word([" red", " "], [0.9, 0.1], [1.0, 0.0], "a", PICTURE).axes
    assert shown.get_title() == "“a …”"
    assert [bar.get_width() for bar in axis.patches] == [90, 100, 10, 0]
    assert "outside" in said(axis)
    assert [t.get_text() for t in axis.get_yticklabels()] == ["“red”", "(no word)"]


def test_shares_and_verdicts_stand_in_the_order_given_in_percent() -> None:
    given = {"one": (0.5, 0.4, 0.6), "own": (0.75, 0.7, 0.8)}
    (axis,) = plots.shares(given, "kept (%)", {"own": figures.SYNTHETIC}).axes
    assert [bar.get_width() for bar in axis.patches] == [50, 75]
    assert to_hex(axis.patches[1].get_facecolor()) == figures.SYNTHETIC.lower()
    (axis,) = plots.verdicts({"camera": {"kept": 1, "dropped": 3}}).axes
    assert [bar.get_width() for bar in axis.patches] == [1, 3]
    assert "25 % kept" in said(axis)
