"""The drawn figures of the BLIP-2 lecture; what it measures is in plots.py.

Blue is for images, orange-red for texts, purple for queries; grey, with a hatched edge, is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vlcourse.teach.blip.figures import CROSS, READER, cells
from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.drawing import GREY, arrow, box, canvas, frozen, new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUERY = COLOURS[3]
QUERY_TEXT = "#8F3F71"  # the same, dark enough to be read on white
_TALL = 2.2


def bridge() -> Figure:
    """Both stages (figure 1): what is frozen, what is trained, and what passes from box to box."""
    figure, axes = new_figure(13.5, 5.4, rows=2)
    stages = (
        "stage 1: learn to see what texts speak of",
        "stage 2: learn to tell it to a language model",
    )
    for number, (axis, title) in enumerate(zip(axes, stages, strict=True)):
        canvas(axis, 27, 5.2)
        axis.set_title(title, loc="left", fontsize=14)
        frozen(axis, 0.6, 1.4, 5.4, _TALL, "image encoder\n(frozen)", IMAGE)
        arrow(axis, (6.1, 2.5), (9.3, 2.5))
        axis.text(7.7, 2.8, "many tokens", ha="center", fontsize=12, color=IMAGE)
        box(axis, 9.4, 1.4, 4.6, _TALL, "Q-Former", QUERY, 14)
        axis.text(11.7, 0.2, "learned queries", ha="center", fontsize=12, color=QUERY_TEXT)
        arrow(axis, (11.7, 0.75), (11.7, 1.3))
        if number == 0:
            arrow(axis, (17.6, 2.5), (14.1, 2.5))
            axis.text(17.8, 2.5, "text", fontsize=13, color=TEXT, va="center")
            axis.text(11.7, 4.2, "ITC   ITM   ITG", ha="center", fontsize=13, color=MATCH)
            continue
        arrow(axis, (14.1, 2.5), (15.9, 2.5))
        box(axis, 16.0, 1.4, 2.2, _TALL, "linear", QUERY, 13)
        arrow(axis, (18.3, 2.5), (21.1, 2.5))
        axis.text(19.7, 2.8, "soft prompt", ha="center", fontsize=12, color=QUERY_TEXT)
        frozen(axis, 21.2, 1.4, 5.4, _TALL, "language model\n(frozen)", TEXT)
        axis.text(23.9, 4.2, "LM", ha="center", fontsize=13, color=MATCH)
    return figure


def roles() -> Figure:
    """BLIP's image-grounded encoder and the Q-Former: who asks the image?"""
    figure, axes = new_figure(13.5, 5.6, 2)
    for axis in axes:
        canvas(axis, 14, 11.6)
    fuse, connect = axes
    fuse.set_title("BLIP: the words ask the image", fontsize=14)
    for bottom, name, colour in (
        (7.6, "feed forward", OTHER),
        (4.8, "cross-attention", CROSS),
        (2.0, "self-attention", READER),
    ):
        box(fuse, 5.2, bottom, 5.6, 1.7, name, colour, 13)
    for low, high in ((1.1, 1.9), (3.7, 4.7), (6.5, 7.5), (9.3, 10.2)):
        arrow(fuse, (8.0, low), (8.0, high))
    fuse.text(8.0, 0.4, "[ENC] a red circle", ha="center", color=TEXT, fontsize=13)
    fuse.text(8.0, 10.4, "does the text fit?", ha="center", color=MATCH, fontsize=13)
    fuse.text(2.0, 5.4, "image\ntokens", ha="center", color=IMAGE, fontsize=12)
    arrow(fuse, (3.3, 5.65), (5.1, 5.65))

    connect.set_title("Q-Former: queries ask, words listen to them", fontsize=14)
    box(connect, 3.4, 7.6, 4.2, 1.7, "feed forward", QUERY, 12)
    box(connect, 9.0, 7.6, 4.2, 1.7, "feed forward", TEXT, 12)
    box(connect, 3.4, 4.8, 4.2, 1.7, "cross-attention,\nevery 2nd block", CROSS, 12)
    box(connect, 3.4, 2.0, 9.8, 1.7, "self-attention, shared (with a mask)", READER, 13)
    for x in (5.5, 11.1):
        arrow(connect, (x, 1.1), (x, 1.9))
        arrow(connect, (x, 9.3), (x, 10.2))
    arrow(connect, (5.5, 3.7), (5.5, 4.7))
    arrow(connect, (5.5, 6.5), (5.5, 7.5))
    arrow(connect, (11.1, 3.7), (11.1, 7.5))
    connect.text(5.5, 0.4, "8 learned queries", ha="center", color=QUERY_TEXT, fontsize=13)
    connect.text(11.1, 0.4, "[CLS] a red circle", ha="center", color=TEXT, fontsize=13)
    connect.text(5.5, 10.4, "what I saw", ha="center", color=QUERY_TEXT, fontsize=13)
    connect.text(11.1, 10.4, "what I read", ha="center", color=TEXT, fontsize=13)
    connect.text(1.1, 5.4, "image\ntokens", ha="center", color=IMAGE, fontsize=12)
    arrow(connect, (2.2, 5.65), (3.3, 5.65))
    return figure


def masks(masks: Mapping[str, tuple[Tensor, Sequence[str]]], queries: int) -> Figure:
    """Masks over [queries ‖ text] as they are: a row looks at the coloured columns.

    ``masks``: a title → (Q + L, Q + L) bool, and the text's L tokens.
    """
    figure, axes = new_figure(4.9 * len(masks), 5.3, len(masks))
    for axis, (title, (mask, words)) in zip(axes, masks.items(), strict=True):
        blocks = (
            (QUERY, 0, 0, mask[:queries, :queries]),
            (GREY, 0, queries, mask[:queries, queries:]),
            (GREY, queries, 0, mask[queries:, :queries]),
            (TEXT, queries, queries, mask[queries:, queries:]),
        )
        for colour, top, left, part in blocks:
            cells(axis, left, part, colour, top)
        for line in (axis.axhline, axis.axvline):
            line(queries - 0.05, color="black", linewidth=1.2)
        labels = [*(f"query {i + 1}" for i in range(queries)), *words]
        name_cells(axis, labels, labels, range(len(labels)))
        axis.set(xlabel="is looked at", ylabel="looks" if axis is axes[0] else "", title=title)
    return figure


def name_cells(
    axis: Axes, rows: Sequence[str], columns: Sequence[str], lefts: Sequence[float]
) -> None:
    """An axis of squares, named on both sides; ``lefts``: where each column begins."""
    axis.set(xlim=(-0.2, lefts[-1] + 1.1), ylim=(len(rows) + 0.1, -0.2), aspect="equal")
    axis.set_yticks([i + 0.5 for i in range(len(rows))], rows, fontsize=12)
    axis.set_xticks([left + 0.5 for left in lefts], columns, rotation=90, fontsize=12)
    axis.grid(False)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def prompt(words: Sequence[str], learned: Sequence[str], queries: int, at: int) -> Figure:
    """A soft prompt among words: what stands at each position, and what is learned there.

    Args:
        words: the text's tokens.
        learned: for each position of the whole, queries included, what it learns; "" for nothing.
        queries: vectors of the prompt.
        at: how many words stand before it.
    """
    whole = [*words[:at], *["soft"] * queries, *words[at:]]
    figure, (axis,) = new_figure(1.35 * len(whole) + 0.6, 3.6)
    canvas(axis, 2.2 * len(whole) + 2.8, 5.8)
    for place, (word, goal) in enumerate(zip(whole, learned, strict=True)):
        x, is_soft = 2.8 + 2.2 * place, at <= place < at + queries
        box(axis, x, 1.5, 2.0, 1.1, word, QUERY if is_soft else TEXT, 12)
        box(axis, x, 4.2, 2.0, 1.1, goal or "–100", MATCH if goal else OTHER, 12)
        arrow(axis, (x + 1.0, 2.7), (x + 1.0, 4.1))
        axis.text(x + 1.0, 0.65, str(place), ha="center", va="center", fontsize=12)
    for y, said in ((0.65, "position"), (2.05, "reads"), (4.75, "learns")):
        axis.text(2.6, y, said, ha="right", va="center", fontsize=12)
    return figure


def readers() -> Figure:
    """Figure 3: the queries in front of a decoder, and in front of an encoder–decoder's prefix."""
    figure, axes = new_figure(13.5, 4.1, 2)
    for axis in axes:
        canvas(axis, 16, 7.6)
    first, second = axes
    first.set_title("a decoder (OPT): goes on", fontsize=14)
    frozen(first, 0.4, 2.6, 15.2, 2.0, "decoder\n(frozen)", TEXT)
    read = ("q", "q", "q", "</s>", "a", "red", "circle")
    for place, word in enumerate(read):
        x = 0.5 + 2.15 * place
        box(first, x, 0.3, 1.95, 1.1, word, QUERY if word == "q" else TEXT, 12)
        arrow(first, (x + 1.0, 1.5), (x + 1.0, 2.5))
    for place, word in enumerate(("a", "red", "circle", "(end)"), start=3):
        x = 1.5 + 2.15 * place
        arrow(first, (x, 4.7), (x, 5.5))
        first.text(x, 5.8, word, ha="center", color=MATCH, fontsize=12)
    second.set_title("an encoder–decoder (Flan-T5): reads, then goes on", fontsize=14)
    frozen(second, 0.4, 2.6, 7.4, 2.0, "encoder\n(frozen)", TEXT)
    frozen(second, 9.6, 2.6, 6.0, 2.0, "decoder\n(frozen)", TEXT)
    for x, word in zip(range(4), ("q", "q", "q", "a red"), strict=True):
        colour = QUERY if word == "q" else TEXT
        box(second, 0.5 + 1.85 * x, 0.3, 1.6, 1.1, word, colour, 12)
        arrow(second, (1.3 + 1.85 * x, 1.5), (1.3 + 1.85 * x, 2.5))
    arrow(second, (7.9, 3.6), (9.5, 3.6))
    for x, (word, goal) in enumerate((("start", "circle"), ("circle", "(end)"))):
        box(second, 10.0 + 2.8 * x, 0.3, 2.4, 1.1, word, TEXT, 12)
        arrow(second, (11.2 + 2.8 * x, 1.5), (11.2 + 2.8 * x, 2.5))
        arrow(second, (11.2 + 2.8 * x, 4.7), (11.2 + 2.8 * x, 5.5))
        second.text(11.2 + 2.8 * x, 5.8, goal, ha="center", color=MATCH, fontsize=12)
    return figure
