"""The plots of the LLaMA lecture: that they draw what they are given, and where it comes from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from llama_measured import OTHERS, STORED
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from vlcourse.models.llama import PRESETS
from vlcourse.teach.llama import cleaning_pages, figures, figures_parts, plots, plots_claims
from vlcourse.teach.measurement import Measurement

LOG = [
    {"step": 0, "loss": 2.0, "colour": 0.1, "count": 0.5},
    {"step": 50, "loss": 1.0},
    {"step": 100, "loss": 0.5, "colour": 0.9},
]
COUNTS = dict.fromkeys(cleaning_pages.KINDS, 5)


def drawn() -> dict[str, Figure]:
    """Each figure of the lecture once."""
    parts, curve = figures_parts, [1.0, 0.5] * 10
    points, grid = torch.randn(9, 2), torch.randn(5, 5)
    stages = {"before": COUNTS, "after": {"clean": 3}}
    sizes = {"one": {"parameters": 1e9, "tokens": 1e11}}
    return {
        "models": figures.models(),
        "mixture": figures.mixture(),
        "pipeline": figures.pipeline(),
        "blocks": figures.blocks(),
        "cache": figures.cache(),
        "stability": parts.stability({"a": [2, 1, 3]}, (1e-3, 1e-2, 1e-1), 2.5),
        "norms": parts.norms(points, points, points),
        "activations": parts.activations(),
        "learned": parts.learned({"target": {"ReLU": curve, "SwiGLU": curve}}),
        "two thirds": parts.two_thirds(),
        "rotation": parts.rotation(),
        "relative": parts.relative({"a": grid, "b": grid}),
        "wavelengths": parts.wavelengths(),
        "by position": parts.by_position({"a": [90.0, math.nan, 10.0]}, 50, 80, "right (%)"),
        "cleaning": plots.cleaning(stages),
        "perplexities": plots.perplexities({"clean": [2, 3], "scrambled": [90]}, 5),
        "sampling": plots.sampling(torch.randn(30), [str(i) for i in range(30)]),
        "decoding": plots.decoding({"without": [2, 3], "with": [1, 1]}, (10, 20)),
        "emergence": plots.emergence(LOG, {"colour": 0.125}, {"lists": 0, "sentences": 60}),
        "comprehension": plots.comprehension({"colour": (0.9, 0.8, 0.95)}, {"colour": 0.125}),
        "isoloss": plots.isoloss(sizes, torch.logspace(9, 12, 5)),
        "zero shot": plots.zero_shot(),
        "utilisation": plots.utilisation({"7B": (80_000, 0.4)}),
        **{
            id: plot(Measurement(0.2, 0.1, 0.3, (0, 1, 2), others=OTHERS, figure=STORED[id]))
            for id, plot in plots_claims.PLOTS.items()
        },
    }


DRAWINGS = ("pipeline", "blocks", "two thirds")  # sheets without axes; the cache has one of them


def test_every_figure_draws_and_names_its_axes() -> None:
    for name, figure in drawn().items():
        assert isinstance(figure, Figure)
        figure.canvas.draw()
        named = [bool(a.get_xlabel() or a.get_ylabel()) for a in figure.axes if a.axison]
        assert all(named) and bool(named) == (name not in DRAWINGS), name


def test_the_paper_s_tables_agree_with_the_presets() -> None:
    assert sum(share for share, _ in figures.MIXTURE.values()) == 100
    for name in PRESETS:
        assert f"LLaMA-{name}" in figures.MODELS and f"LLaMA-{name}" in plots.ZERO_SHOT
    assert {len(row) for row in plots.ZERO_SHOT.values()} == {len(plots.BENCHMARKS)}
    assert tuple(plots.KINDS) == cleaning_pages.KINDS


def test_emergence_draws_each_kind_over_the_steps_where_it_was_measured() -> None:
    above, axis = plots.emergence(LOG).axes
    assert np.asarray(above.get_lines()[0].get_xydata()).tolist() == [[0, 2], [50, 1], [100, 0.5]]
    lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axis.get_lines()}
    assert lines["colour"] == [[0, 10], [100, 90]] and lines["count"] == [[0, 50]]
    some = plots.emergence(LOG, {"colour": 0.125}).axes[1].get_legend_handles_labels()
    assert some[1] == ["colour"]


def test_sampling_keeps_the_nucleus() -> None:
    shares = torch.tensor([0.5, 0.3, 0.15, 0.04, 0.01])
    axes = plots.sampling(shares.log(), list("abcde"), shown=5).axes
    legends = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in axes]
    assert legends[1][-1] == "kept: 3" and legends[2][-1] == "kept: 3"
    heights = [patch.get_height() for patch in axes[2].patches[5:]]
    assert heights == pytest.approx([50 / 0.95, 30 / 0.95, 15 / 0.95, 0, 0], abs=1e-3)


def test_zero_shot_draws_each_size_minus_gpt3_where_gpt3_was_reported() -> None:
    (axis,) = plots.zero_shot().axes
    drawn = {line.get_label(): line.get_ydata() for line in axis.get_lines()}
    better = np.asarray(drawn["LLaMA-13B"]).round(1)
    assert better.tolist() == [17.6, -0.9, 0.3, 2.8, 6.0, 1.3, -1.2]
    assert not any("SIQA" in label.get_text() for label in axis.get_xticklabels())


def test_lines_carry_their_names_beside_them() -> None:
    """Each name stands in its line's colour, at one of its points; nothing is left to a legend."""
    sizes = {name: {"parameters": n, "tokens": 1e11} for name, n in (("one", 1e9), ("two", 2e9))}
    served = torch.logspace(9, 12, 5)
    for figure, names in (
        (plots.decoding({"without": [2, 3], "with": [1, 1]}, (10, 20)), ["without", "with"]),
        (plots.isoloss(sizes, served), ["one", "two"]),
        (figures_parts.activations(), ["ReLU", "GELU", "SiLU = Swish"]),
    ):
        axis = figure.axes[0]
        assert axis.get_legend() is None
        assert [text.get_text() for text in axis.texts] == names
        for text, line in zip(axis.texts, axis.get_lines(), strict=True):
            assert text.get_color() == line.get_color()
            assert isinstance(text, Annotation)
            x, y = np.asarray(line.get_xydata()).T
            assert np.interp(text.xy[0], x, y) == pytest.approx(text.xy[1], rel=0.02)


def test_comprehension_marks_the_interval_and_guessing() -> None:
    (axis,) = plots.comprehension({"colour": (0.9, 0.8, 0.95)}, {"colour": 0.125}).axes
    ends = [np.asarray(c.get_segments()).ravel().round(3).tolist() for c in axis.collections]
    assert any({80.0, 95.0} <= set(e) for e in ends) and any(12.5 in e for e in ends)
