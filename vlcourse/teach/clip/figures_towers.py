"""More drawn figures of the CLIP lecture: what is inside the towers, and what surrounds them.

Blue is for images, orange-red for texts, green for what matches or is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.drawing import GREY, arrow, box, canvas, new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def resnet() -> Figure:
    """ResNet-50 and CLIP's RN50 part by part, with the shapes for a picture of 224 px."""
    figure, (axis,) = new_figure(13, 5.2)
    canvas(axis, 26, 10.2)
    names = ("stem", "stage 1", "stages 2 to 4", "pooling", "output")
    shapes = (
        "64 × 56 × 56",
        "256 × 56 × 56",
        "512 × 28 × 28\n1024 × 14 × 14\n2048 × 7 × 7",
        "50 tokens of 2048",
        "1024",
    )
    plain = (
        "7×7 conv, stride 2\n3×3 max pool",
        "3 bottlenecks",
        "4, 6, 3 bottlenecks;\nthe first of each\nhas strided convs",
        "mean of all\npositions",
        "linear,\n1000 classes",
    )
    clip = (
        "three 3×3 convs\n(first: stride 2)\n2×2 average pool",
        "3 bottlenecks",
        "4, 6, 3 bottlenecks;\nthe first of each has\naverage pools instead",
        "attention: the mean\nasks all positions",
        "joint space\n(1024)",
    )
    new = (True, False, True, True, True)
    for y, row, title in ((6.0, plain, "ResNet-50"), (1.6, clip, "CLIP's RN50")):
        for column, text in enumerate(row):
            colour = MATCH if new[column] and row is clip else OTHER
            box(axis, 0.3 + 5.2 * column, y, 4.5, 2.3, text, colour, 11.5)
            if column:
                arrow(axis, (5.2 * column - 0.4, y + 1.15), (5.2 * column + 0.3, y + 1.15))
        axis.text(0.3, y + 2.5, title, fontsize=14, weight="bold")
    for column, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        x = 2.55 + 5.2 * column
        axis.text(x, 9.6, name, ha="center", fontsize=13, style="italic")
        axis.text(x, 1.4, shape, ha="center", va="top", fontsize=11, color=IMAGE)
    return figure


def attention_pool(side: int = 3) -> Figure:
    """The last layer of CLIP's ResNet as a drawing: one query, side² + 1 keys and values."""
    figure, (axis,) = new_figure(12.5, 5.6)
    canvas(axis, 25, 11.2)
    for cell in range(side * side):
        row, column = divmod(cell, side)
        box(axis, 0.4 + 1.2 * column, 6.6 - 1.2 * row, 1.1, 1.1, f"$x_{{{cell + 1}}}$", IMAGE)
    axis.text(2.2, 8.2, "last feature map\n(C, S/32, S/32)", ha="center", fontsize=12)
    n = side * side + 1
    tops = [9.4 - 0.95 * i for i in range(n)]
    for i, y in enumerate(tops):
        name = "mean" if i == 0 else f"$x_{{{i}}}$"
        box(axis, 6.4, y, 2.6, 0.8, f"{name} + $p_{{{i}}}$", MATCH if i == 0 else IMAGE, 12)
        arrow(axis, (9.1, y + 0.4), (15.3, 5.3 + 0.08 * (n / 2 - i)))
    arrow(axis, (4.2, 5.8), (6.2, 5.8))
    axis.text(7.7, 10.4, "tokens with positions", ha="center", fontsize=12)
    axis.plot([9.1, 16.6], [9.9, 9.9], color=MATCH, linewidth=2.5)
    arrow(axis, (16.6, 9.9), (16.6, 6.7))
    axis.text(16.9, 8.2, "the query:\n“what do we have, on the whole?”", fontsize=12, color=MATCH)
    axis.text(13.4, 1.6, "keys and values", ha="center", fontsize=12, color=IMAGE)
    box(axis, 15.3, 4.1, 2.8, 2.5, "multi-head\nattention", MATCH, 12)
    box(axis, 19.0, 4.4, 2.4, 1.9, "output\nmatrix\nand bias", GREY, 12)
    box(axis, 22.2, 4.4, 2.5, 1.9, "embedding\n(d$_e$)", MATCH, 12)
    arrow(axis, (18.2, 5.35), (18.9, 5.35))
    arrow(axis, (21.5, 5.35), (22.1, 5.35))
    return figure


def shift(curves: Mapping[str, Sequence[float]]) -> Figure:
    """How far a feature moves (share of its length) when the picture moves by 0, 1, 2, … pixels."""
    figure, (axis,) = new_figure(8.5, 4.2)
    for (name, values), colour in zip(curves.items(), (OTHER, MATCH), strict=True):
        axis.plot(range(len(values)), [100 * v for v in values], "o-", color=colour)
        middle = len(values) // 2
        top = 100 * max(values[middle - 1 : middle + 2])
        axis.annotate(
            name, (middle, top), (0, 8), textcoords="offset points", color=colour, ha="center"
        )
    axis.set(
        xlabel="the picture moves to the right by … (px)",
        ylabel="change of the feature\n(% of its length)",
    )
    axis.margins(y=0.15)
    axis.set_ylim(0, None)
    return figure


def positions(grids: Sequence[Tensor], titles: Sequence[str]) -> Figure:
    """Position vectors' first number as pictures: (g, g) grids side by side, on one scale."""
    figure, axes = new_figure(4.6 * len(grids), 4.2, len(grids))
    limit = max(float(grid.abs().max()) for grid in grids)
    for axis, grid, title in zip(axes, grids, titles, strict=True):
        shown = axis.imshow(grid.numpy(), vmin=-limit, vmax=limit, cmap="PuOr")
        axis.set(title=title, xlabel="column of patches", ylabel="row of patches")
        axis.grid(False)
    figure.colorbar(shown, ax=list(axes), label="first number of the position vector", shrink=0.9)
    return figure


def merging(steps: Sequence[tuple[int, Sequence[str]]], lengths: Mapping[int, float]) -> Figure:
    """A word's symbols after some numbers of merges, and tokens per caption by number of merges."""
    figure, axes = new_figure(13, 0.62 * len(steps) + 1.4, 2, width_ratios=(1.5, 1))
    letters = sum(len(s.replace("</w>", "")) for s in steps[0][1])
    canvas(axes[0], letters + 3.2, 1.1 * len(steps))
    axes[0].set_aspect("auto")
    for row, (count, symbols) in enumerate(steps):
        y, x = 1.1 * (len(steps) - 1 - row), 3.0
        axes[0].text(2.7, y + 0.42, f"{count:,} merges", ha="right", va="center", fontsize=12)
        for symbol in symbols:
            word = symbol.replace("</w>", "")
            end = symbol.endswith("</w>")
            box(axes[0], x, y, len(word) - 0.1, 0.85, word, MATCH if end else TEXT, 13)
            x += len(word)
    axes[0].set_title("one word; green: its last symbol")
    axes[1].plot(list(lengths), list(lengths.values()), "o-", color=TEXT)
    axes[1].set(xlabel="merges learned", ylabel="tokens per caption (mean)", ylim=(0, None))
    axes[1].set_title("more merges, shorter texts")
    return figure


def gather() -> Figure:
    """Forward and backward of the gather on two ranks, seen from rank 0's rows."""
    figure, axes = new_figure(13, 5.6, 2)
    titles = ("forward: every rank gets all rows", "backward: each gradient returns to its rank")
    for axis, title in zip(axes, titles, strict=True):
        canvas(axis, 13, 9.4)
        axis.set_title(title)
        for rank, y in ((0, 5.4), (1, 1.0)):
            colour = (TEXT, COLOURS[4])[rank]
            axis.text(0.1, y + 2.6, f"rank {rank}", fontsize=13, weight="bold", color=colour)
            box(axis, 0.1, y + 0.5, 2.6, 1.5, f"own rows\n$T_{rank}$  (n, d)", colour, 12)
            box(axis, 5.3, y + 1.25, 2.4, 1.1, "$T_0$", TEXT, 12)
            box(axis, 5.3, y, 2.4, 1.1, "$T_1$", COLOURS[4], 12)
            box(axis, 9.3, y + 0.3, 3.5, 1.8, f"its own loss $L_{rank}$\nn × N logits", MATCH, 12)
    for y in (5.4, 1.0):
        arrow(axes[0], (7.9, y + 1.2), (9.2, y + 1.2))
        arrow(axes[1], (9.2, y + 1.2), (7.9, y + 1.2))
    for start, ends in ((6.65, (7.2, 2.8)), (2.25, (5.95, 1.55))):
        for end in ends:
            arrow(axes[0], (2.8, start), (5.2, end))
    arrow(axes[1], (5.2, 7.2), (2.8, 6.8))
    arrow(axes[1], (5.2, 2.8), (2.8, 6.4))
    arrow(axes[1], (5.2, 5.95), (2.8, 2.5))
    arrow(axes[1], (5.2, 1.55), (2.8, 2.0))
    axes[0].text(4.0, 0.2, "all_gather", ha="center", fontsize=13)
    axes[1].text(4.0, 0.2, "reduce_scatter: add up, keep your own rows", ha="center", fontsize=13)
    return figure


def stable_diffusion() -> Figure:
    """Where CLIP's text tower sits in Stable Diffusion 1."""
    figure, (axis,) = new_figure(13, 4.9)
    canvas(axis, 26, 9.8)
    box(axis, 0.2, 6.4, 4.2, 1.9, "“a small red circle\nabove a blue star”", TEXT, 12)
    box(axis, 5.4, 6.4, 3.2, 1.9, "CLIP's tokenizer\n77 ids, padded", TEXT, 12)
    box(axis, 9.6, 6.4, 4.2, 1.9, "text tower of ViT-L/14\nfrozen", TEXT, 12)
    box(axis, 14.9, 6.4, 4.3, 1.9, "all states, after\nthe last LayerNorm\n(77, 768)", TEXT, 11.5)
    box(axis, 20.6, 6.4, 5.0, 1.9, "CLIP itself would take\nEOT's state, times $W_t$", OTHER, 12)
    for x in (4.5, 8.7, 13.9):
        arrow(axis, (x, 7.35), (x + 0.85, 7.35))
    axis.plot([19.3, 20.5], [7.35, 7.35], color=GREY, linestyle=":", linewidth=2)
    box(axis, 0.2, 1.6, 4.2, 1.9, "noisy latent picture\n(4, 64, 64)", IMAGE, 12)
    box(axis, 9.6, 1.1, 9.6, 2.9, "", IMAGE)
    axis.text(10.0, 1.4, "U-Net, trained", fontsize=12, weight="bold", color=IMAGE)
    box(axis, 10.4, 2.2, 2.6, 1.3, "convolutions", IMAGE, 11)
    box(axis, 13.6, 2.2, 5.1, 1.3, "cross-attention: positions\nask, words answer", MATCH, 11)
    arrow(axis, (4.5, 2.55), (9.5, 2.55))
    arrow(axis, (17.05, 6.3), (16.2, 3.6))
    axis.text(17.2, 4.9, "keys and values", fontsize=12, color=TEXT)
    arrow(axis, (13.05, 2.85), (13.55, 2.85))
    box(axis, 20.6, 1.6, 5.0, 1.9, "a little less noise;\nrepeat, then decode", IMAGE, 12)
    arrow(axis, (19.3, 2.55), (20.5, 2.55))
    return figure
