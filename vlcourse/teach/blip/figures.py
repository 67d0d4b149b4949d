"""The drawn figures of the BLIP lecture; what it measures is in plots.py.

Blue is for images, orange-red for texts, green for what matches; a part of one colour and one name
is one and the same module wherever it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.drawing import arrow, box, canvas, new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

READER, WRITER, CROSS = COLOURS[4], COLOURS[3], COLOURS[5]
_FEED = ("feed forward", OTHER)
_OWN_FEED = ("feed forward", IMAGE)
_LOOK = ("cross-attention", CROSS)
_BOTH_WAYS = ("self-attention\nboth ways", READER)
_BACK_ONLY = ("self-attention\nbackwards only", WRITER)


def med() -> Figure:
    """The paper's figure 2: the image encoder, and one text model in three modes."""
    figure, (axis,) = new_figure(13.5, 6.6)
    canvas(axis, 27, 13.2)
    stacks = (
        ("image encoder", "the picture", IMAGE, "", (_OWN_FEED, ("self-attention", IMAGE))),
        ("text encoder", "[CLS] a red circle", TEXT, "ITC", (_FEED, _BOTH_WAYS)),
        (
            "image-grounded\ntext encoder", "[ENC] a red circle", TEXT, "ITM",
            (_FEED, _LOOK, _BOTH_WAYS),
        ),
        (
            "image-grounded\ntext decoder", "[DEC] a red circle", TEXT, "LM",
            (_FEED, _LOOK, _BACK_ONLY),
        ),
    )  # fmt: skip
    for number, (name, reads, colour, loss, parts) in enumerate(stacks):
        left = 0.5 + 6.8 * number
        _stack(axis, left, parts)
        axis.text(left + 2.5, 11.0, name, ha="center", fontsize=13, weight="bold")
        axis.text(left + 2.5, 0.75, reads, ha="center", fontsize=12, color=colour)
        if loss:
            box(axis, left + 1.5, 9.4, 2.0, 1.1, loss, MATCH, 13)
            arrow(axis, (left + 2.5, 8.65), (left + 2.5, 9.3))
    axis.plot([3.0, 3.0, 8.7], [8.7, 9.95, 9.95], color=IMAGE, linewidth=2)  # its feature, to ITC
    arrow(axis, (8.6, 9.95), (8.75, 9.95))
    tokens = ([3.0, 6.4, 6.4, 20.3], [9.15, 9.15, -0.3, -0.3])  # its tokens, below the texts
    axis.plot(*tokens, color=IMAGE, linewidth=2)
    for left in (14.1, 20.9):
        axis.plot([left - 0.6, left - 0.6], [-0.3, 5.2], color=IMAGE, linewidth=2)
        arrow(axis, (left - 0.6, 5.2), (left + 0.25, 5.2))
    axis.text(9.9, -0.15, "image tokens", color=IMAGE, fontsize=12, ha="center", va="bottom")
    axis.set_ylim(-0.8, 13.2)
    return figure


def _stack(axis: Axes, left: float, parts: Sequence[tuple[str, str]]) -> None:
    """One network: its parts from top to bottom, between a feature above and tokens below."""
    tops = {2: (6.5, 2.2), 3: (6.9, 4.4, 1.9)}[len(parts)]
    tall = 1.55 if len(parts) == 3 else 1.9
    for (name, colour), bottom in zip(parts, tops, strict=True):
        box(axis, left + 0.3, bottom, 4.4, tall, name, colour, 12)
    for above, below in zip(tops, tops[1:], strict=False):
        arrow(axis, (left + 2.5, below + tall), (left + 2.5, above - 0.05))
    arrow(axis, (left + 2.5, 1.25), (left + 2.5, tops[-1] - 0.05))
    axis.text(left + 4.85, 8.2, "× N", fontsize=11, color="#444444")


def masks(words: Sequence[str], image_tokens: int = 4) -> Figure:
    """Who may look at what in each mode: a row is a text token, a column what it looks at."""
    n = len(words)
    every, back = torch.ones(n, n), torch.ones(n, n).tril()
    modes = (
        ("ITC: text alone", "[CLS]", every, 0, READER),
        ("ITM: with the image", "[ENC]", every, 1, READER),
        ("LM: writing", "[DEC]", back, 1, WRITER),
    )
    figure, axes = new_figure(14, 4.6, 3)
    for axis, (title, first, own, looks, colour) in zip(axes, modes, strict=True):
        for kind, left, allowed in (
            (colour, 0.0, own),
            (CROSS, n + 0.6, torch.full((n, image_tokens), float(looks))),
        ):
            cells(axis, left, allowed, kind)
        axis.set(xlim=(-0.6, n + image_tokens + 0.7), ylim=(n + 0.6, -1.4), aspect="equal")
        labels = [first, *words[1:]]
        axis.set_yticks([i + 0.5 for i in range(n)], labels, fontsize=12)
        axis.set_xticks([i + 0.5 for i in range(n)], labels, rotation=90, fontsize=11)
        axis.set_title(title)
        axis.text(n / 2, -0.3, "the text", ha="center", color=colour, fontsize=12)
        axis.text(n + 0.6 + image_tokens / 2, -0.3, "the image", ha="center", color=IMAGE)
        axis.grid(False)
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
    return figure


def cells(axis: Axes, left: float, allowed: Tensor, colour: str, top: float = 0) -> None:
    """A matrix as squares, its first one at (left, top): coloured where it is not 0."""
    from matplotlib.patches import Rectangle

    for row, values in enumerate(allowed.tolist()):
        for column, value in enumerate(values):
            paint = colour if value else "#F2F2F2"
            axis.add_patch(Rectangle((left + column, top + row), 0.9, 0.9, color=paint))


def targets(words: Sequence[str], learned: Sequence[str]) -> Figure:
    """What the decoder reads at each position, and what it learns there ("" for nothing)."""
    n = len(words)
    figure, (axis,) = new_figure(1.45 * n, 2.9)
    canvas(axis, 2.2 * n + 2.4, 4.6)
    for place, (word, goal) in enumerate(zip(words, learned, strict=True)):
        x = 2.4 + 2.2 * place
        box(axis, x, 0.4, 2.0, 1.1, word, TEXT, 12)
        box(axis, x, 3.0, 2.0, 1.1, goal or "–100", MATCH if goal else OTHER, 12)
        arrow(axis, (x + 1.0, 1.6), (x + 1.0, 2.9))
    axis.text(2.2, 0.95, "reads", ha="right", va="center", fontsize=12)
    axis.text(2.2, 3.55, "learns", ha="right", va="center", fontsize=12)
    return figure


def answering() -> Figure:
    """Question answering (the paper's figure 5): the answer looks at the question's states only."""
    figure, (axis,) = new_figure(12, 3.6)
    canvas(axis, 24, 7.2)
    box(axis, 0.4, 3.0, 4.2, 1.8, "image encoder", IMAGE, 13)
    box(axis, 7.4, 3.0, 5.4, 1.8, "reader:\nimage-grounded encoder", READER, 13)
    box(axis, 17.4, 3.0, 5.4, 1.8, "writer:\nits own decoder", WRITER, 13)
    arrow(axis, (4.7, 3.9), (7.3, 3.9))
    arrow(axis, (12.9, 3.9), (17.3, 3.9))
    arrow(axis, (10.1, 1.6), (10.1, 2.9))
    arrow(axis, (20.1, 4.9), (20.1, 6.1))
    axis.text(10.1, 0.8, "[ENC] what colour is the ring", ha="center", color=TEXT, fontsize=13)
    axis.text(20.1, 6.4, "red [SEP]", ha="center", color=TEXT, fontsize=13)
    axis.text(6.0, 4.3, "image tokens", ha="center", fontsize=11, color=IMAGE)
    axis.text(15.1, 4.3, "the question's states", ha="center", fontsize=11, color=TEXT)
    arrow(axis, (20.1, 1.6), (20.1, 2.9))
    axis.text(20.1, 0.8, "[DEC]", ha="center", color=TEXT, fontsize=13)
    return figure
