"""The drawn figures of the LLaMA-Adapter lecture; what it measures is in plots.py.

Blue is what sees, orange-red are words, purple are prompts; grey, with a hatched edge, is frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlcourse.teach.clip.figures import IMAGE, MATCH, TEXT
from vlcourse.teach.drawing import arrow, box, canvas, frozen, new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROMPT = COLOURS[3]
PROMPT_TEXT = "#8F3F71"  # the same, dark enough to be read on white
GATE = COLOURS[4]


def stack() -> Figure:
    """Version 1 (figure 1): a frozen LLaMA, with prompts and gates in its top layers."""
    figure, (left, right) = new_figure(13.5, 5.6, 2, width_ratios=(1, 1.15))
    canvas(left, 15, 12)
    left.set_title("prompts in the top L layers", fontsize=14)
    for row, name in enumerate(("layer 1", "layer 2", "layer 3", "…", "layer 32")):
        y = 1.5 + 1.8 * row
        if name == "…":
            left.text(10.3, y + 0.6, "…", ha="center", va="center", fontsize=18)
            continue
        frozen(left, 7.0, y, 6.6, 1.3, name)
        if row >= 2:
            box(left, 1.0, y, 3.6, 1.3, "10 prompts", PROMPT, 12)
            arrow(left, (4.7, y + 0.65), (6.9, y + 0.65))
    left.text(10.3, 0.0, "the instruction", ha="center", color=TEXT, fontsize=13)
    arrow(left, (10.3, 0.6), (10.3, 1.45))
    left.text(10.3, 11.0, "the response", ha="center", color=MATCH, fontsize=13)
    arrow(left, (10.3, 10.1), (10.3, 10.8))

    canvas(right, 17, 12)
    right.set_title("inside one of them", fontsize=14)
    frozen(right, 0.4, 1.0, 4.6, 1.4, "K and V maps")
    box(right, 0.4, 4.0, 4.6, 1.4, "softmax over\nthe prompts", PROMPT, 12)
    box(right, 0.9, 6.8, 3.6, 1.4, "tanh(gate)", GATE, 13)
    frozen(right, 9.6, 1.0, 6.6, 1.4, "Q, K and V maps")
    box(right, 10.4, 4.0, 5.0, 1.4, "softmax over\nthe text", TEXT, 12)
    right.text(2.7, 0.2, "prompts", ha="center", color=PROMPT_TEXT, fontsize=13)
    right.text(12.9, 0.2, "text", ha="center", color=TEXT, fontsize=13)
    for x, low, high in (
        (2.7, 2.5, 3.9), (2.7, 5.5, 6.7), (12.9, 2.5, 3.9), (12.9, 5.5, 8.5)
    ):  # fmt: skip
        arrow(right, (x, low), (x, high))
    arrow(right, (9.5, 2.0), (5.1, 4.2))
    right.text(6.8, 2.4, "queries", ha="center", fontsize=12)
    right.text(12.9, 9.0, "+", ha="center", va="center", fontsize=26)
    arrow(right, (4.6, 7.7), (12.4, 8.9))
    frozen(right, 10.4, 10.2, 5.0, 1.4, "output map")
    arrow(right, (12.9, 9.5), (12.9, 10.1))
    return figure


def ideas() -> Figure:
    """Version 2: its four ideas around one frozen LLaMA, by what trains them."""
    figure, (axis,) = new_figure(13.5, 6.4)
    canvas(axis, 27, 12.8)
    rows = ("layer 1", "layer 2", "…", "layer 31", "layer 32")
    for row, name in enumerate(rows):
        y = 2.2 + 1.75 * row
        if name == "…":
            axis.text(13.5, y + 0.6, "…", ha="center", va="center", fontsize=18)
            continue
        frozen(axis, 10.6, y, 5.8, 1.3, name)
        box(axis, 18.0, y, 3.9, 1.3, "b, s, norms", PROMPT, 12)
        arrow(axis, (17.9, y + 0.65), (16.5, y + 0.65))
        if row:
            box(axis, 23.0, y, 3.6, 1.3, "prompts", PROMPT, 12)
    arrow(axis, (9.0, 2.85), (10.5, 2.85))
    box(axis, 5.2, 2.2, 3.8, 1.3, "visual tokens", IMAGE, 12)
    frozen(axis, 0.4, 2.2, 3.4, 1.3, "CLIP")
    arrow(axis, (3.9, 2.85), (5.1, 2.85))
    axis.text(13.5, 0.6, "the instruction", ha="center", color=TEXT, fontsize=13)
    box(axis, 1.0, 0.1, 6.0, 1.2, "4  an expert's words", TEXT, 13)
    arrow(axis, (7.1, 0.75), (10.6, 0.75))
    arrow(axis, (13.5, 1.2), (13.5, 2.1))
    arrow(axis, (13.5, 10.6), (13.5, 11.3))
    axis.text(13.5, 11.5, "the response", ha="center", color=MATCH, fontsize=13)
    for x, y, said, colour in (
        (19.95, 11.4, "1  bias and scale\neverywhere", PROMPT_TEXT),
        (4.6, 8.6, "2  captions train what is blue,\ninstructions what is purple", "black"),
        (4.6, 4.6, "3  early fusion: the first\nlayer sees the picture", IMAGE),
        (24.8, 11.4, "prompts in all\nlater layers", PROMPT_TEXT),
    ):
        axis.text(x, y, said, ha="center", va="center", color=colour, fontsize=13, weight="bold")
    return figure
