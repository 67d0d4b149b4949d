"""The drawn figures of the CapFilt lecture; its plots are in plots.py.

Colours keep their meaning: blue for images, orange-red for the web's texts, purple for synthetic
ones, green for what is kept, grey for what is dropped.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vlcourse.teach.drawing import GREY, arrow, box, canvas, new_figure
from vlcourse.teach.drawing import image as draw_image
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGE, WEB, SYNTHETIC, KEPT, DROPPED = COLOURS[0], COLOURS[1], COLOURS[3], COLOURS[2], GREY
PAINT = {"web": WEB, "synthetic": SYNTHETIC}


def printable(text: str) -> str:
    """A text with a sign for each character that no font has: captioners write bytes."""
    return "".join(c if c.isprintable() and ord(c) < 0x250 else "\ufffd" for c in text)


def noise(examples: Mapping[str, Sequence[tuple[Tensor, str]]], true: Sequence[str]) -> Figure:
    """A row for each kind of text, with pictures and what stands beside them.

    ``examples``: kind → (picture, text) pairs, equally many of each; ``true``: the kinds that are.
    """
    rows, columns = len(examples), len(next(iter(examples.values())))
    figure, (axis,) = new_figure(13, 1.15 * rows)
    width, height = 26.0, 2.3 * rows
    canvas(axis, width, height)
    for row, (kind, pairs) in enumerate(examples.items()):
        y = height - 2.3 * (row + 1) + 0.15
        colour, said = (KEPT, "true") if kind in true else (WEB, "noise")
        axis.text(0.1, y + 1.25, kind, fontsize=14, weight="bold", color=colour, va="center")
        axis.text(0.1, y + 0.55, said, fontsize=12, color=colour, va="center")
        for column, (picture, text) in enumerate(pairs):
            x = 4.2 + (width - 4.2) / columns * column
            draw_image(axis, picture, x, y, 2.0)
            axis.text(x + 2.2, y + 1.0, textwrap.fill(text, 22), fontsize=12, va="center")
    return figure


def pipeline() -> Figure:
    """The figure 3 of the paper: from a noisy set to a cleaner one, and a model afresh on it."""
    figure, (axis,) = new_figure(13, 6.2)
    canvas(axis, 26, 12.4)
    box(axis, 0.2, 7.6, 4.6, 3.0, "noisy web\n$(I_w, T_w)$", WEB, 13)
    box(axis, 0.2, 1.6, 4.6, 3.0, "small clean set\n$(I_h, T_h)$", KEPT, 13)
    box(axis, 6.3, 4.6, 3.9, 3.0, "MED,\npretrained\non both", IMAGE, 13)
    arrow(axis, (4.9, 8.6), (6.9, 7.7))
    arrow(axis, (4.9, 3.6), (6.9, 4.5))
    box(axis, 11.9, 8.0, 4.6, 2.6, "captioner\nfine-tuned with LM", SYNTHETIC, 13)
    box(axis, 11.9, 1.6, 4.6, 2.6, "filter\nfine-tuned with\nITC and ITM", KEPT, 13)
    arrow(axis, (10.3, 6.7), (12.2, 7.9))
    arrow(axis, (10.3, 5.5), (12.2, 4.3))
    axis.text(14.2, 6.1, "apart, on the clean set", ha="center", va="center", fontsize=12)
    box(axis, 18.3, 8.0, 7.4, 2.6, "synthetic texts $T_s$\none for each $I_w$", SYNTHETIC, 13)
    arrow(axis, (16.6, 9.3), (18.2, 9.3))
    box(axis, 18.3, 4.7, 7.4, 2.2, "judged: $T_w$ and $T_s$,\nkept above 0.5", KEPT, 13)
    arrow(axis, (22.0, 7.9), (22.0, 7.0))
    arrow(axis, (16.6, 3.4), (18.2, 5.0))
    box(
        axis,
        18.3,
        1.0,
        7.4,
        2.6,
        "new set: kept pairs\n+ $(I_h, T_h)$\n→ a new MED, afresh",
        IMAGE,
        13,
    )
    arrow(axis, (22.0, 4.6), (22.0, 3.7))
    axis.plot([2.5, 2.5, 20.0], [10.7, 11.7, 11.7], color="#444444", linewidth=2)
    arrow(axis, (20.0, 11.7), (20.0, 10.7))
    axis.text(11.0, 11.9, "web pictures $I_w$, and their texts $T_w$", ha="center", fontsize=12)
    return figure


def dataset(
    pictures: Sequence[Tensor], texts: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> Figure:
    """What stood beside some pictures, and the verdicts on both texts.

    Args:
        pictures, texts: as they came from the web.
        rows: of the new data set, "picture" counted within ``pictures``.
    """
    n = len(pictures)
    figure, (axis,) = new_figure(13, 1.2 * n + 0.5)
    canvas(axis, 26, 2.4 * n + 1.0)
    for x, title in ((3.0, "before: the web's text"), (10.5, "after: both texts, judged")):
        axis.text(x, 2.4 * n + 0.4, title, fontsize=14, weight="bold", va="center")
    for i, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        y = 2.4 * (n - 1 - i) + 0.15
        draw_image(axis, picture, 0.2, y, 2.1)
        axis.text(3.0, y + 1.05, textwrap.fill(text, 30), fontsize=12, color=WEB, va="center")
        mine = [row for row in rows if row["picture"] == i]
        for place, row in enumerate(mine):
            _verdict(axis, row, 10.5, y + (1.55 if place == 0 and len(mine) > 1 else 0.55))
    return figure


def _verdict(axis: Axes, row: Mapping[str, Any], x: float, y: float) -> None:
    kept = row["kept"]
    mark, colour = ("✓", KEPT) if kept else ("✗", DROPPED)
    axis.text(x, y, mark, fontsize=15, weight="bold", color=colour, va="center")
    said = textwrap.shorten(printable(row["text"]), 68, placeholder=" …")
    shown = PAINT[row["origin"]] if kept else DROPPED
    axis.text(x + 0.8, y, f"{row['origin']}: {said}", fontsize=12, color=shown, va="center")


def control(picture: Tensor, edges: Tensor, caption: str) -> Figure:
    """A sample to train ControlNet with: the picture, its control map, and a prompt for it.

    ``picture``: (3, H, W) uint8; ``edges``: (H, W), 0 to 1.
    """
    figure, axes = new_figure(12, 3.8, 3, width_ratios=(1, 1, 1.4))
    axes[0].imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes[0].set_title("what is to come out")
    axes[1].imshow(edges.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes[1].set_title("the control: edges")
    for axis in axes[:2]:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(False)
    canvas(axes[2], 10, 7)
    box(axes[2], 0.3, 2.0, 9.4, 3.4, textwrap.fill(f"“{caption}”", 30), SYNTHETIC, 13)
    axes[2].set_title("the prompt: written by BLIP")
    return figure
