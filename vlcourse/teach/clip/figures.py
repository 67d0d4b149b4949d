"""The drawn figures of the CLIP lecture; its plots are in plots.py and plots_use.py.

Each function returns a Figure, which a notebook shows when it is the last value of a cell. Colours
keep their meaning: blue for images, orange-red for texts, green for what matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from vlcourse.teach.drawing import GREY, arrow, box, canvas, new_figure
from vlcourse.teach.drawing import image as draw_image
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGE, TEXT, MATCH, OTHER = COLOURS[0], COLOURS[1], COLOURS[2], GREY
FRAME = "#C2007A"  # none of the toy world's colours


def supervision(image: Tensor, label: str, caption: str) -> Figure:
    """What a class label says of a picture, and what a sentence says of the same picture."""
    import textwrap

    figure, axes = new_figure(11, 4.2, 2)
    for axis, title in zip(axes, ("a label: one of K numbers", "a sentence"), strict=True):
        canvas(axis, 11, 7.5)
        draw_image(axis, image, 0.2, 1.6, 4.4)
        axis.set_title(title)
    names = ("red circle", "red square", "…", label, "…", "white ring")
    for row, name in enumerate(names):
        chosen = name == label
        colour = MATCH if chosen else OTHER
        box(axes[0], 6.2, 5.9 - 0.95 * row, 4.4, 0.8, f"{name}   {int(chosen)}", colour)
    arrow(axes[0], (4.8, 3.8), (6.1, 5.9 - 0.95 * names.index(label) + 0.4))
    box(axes[1], 5.4, 2.3, 5.4, 3.0, textwrap.fill(f"“{caption}”", 20), TEXT, 14)
    arrow(axes[1], (4.7, 3.8), (5.3, 3.8))
    axes[0].text(5.4, 0.1, "everything else is thrown away", ha="center", fontsize=12)
    axes[1].text(5.4, 0.1, "any object, attribute, number or relation", ha="center", fontsize=12)
    return figure


def datasets() -> Figure:
    """How many labelled or captioned images there were to learn from (numbers from the papers)."""
    rows = {
        "MS-COCO, Visual Genome\n(written for the purpose)": (0.1, TEXT),
        "ImageNet-1k\n(labels, no text)": (1.28, OTHER),
        "YFCC100M, usable English text": (15, TEXT),
        "YFCC100M, all": (100, OTHER),
        "WIT (CLIP)": (400, TEXT),
        "ALIGN, follow-up": (1800, TEXT),
    }
    figure, (axis,) = new_figure(9, 4.4)
    for place, (value, colour) in enumerate(rows.values()):
        axis.barh(-place, value, color=colour, alpha=1 if value == 400 else 0.55)
        said = f"{value * 1000:.0f} k" if value < 1 else f"{value:,g} M"
        axis.annotate(said, (value, -place), (5, 0), textcoords="offset points", va="center")
    axis.set_yticks([-i for i in range(len(rows))], list(rows))
    axis.set(xscale="log", xlim=(0.03, 20000), xlabel="images (millions, log);  orange: with text")
    axis.grid(False, axis="y")
    return figure


def efficiency() -> Figure:
    """Images needed for one zero-shot accuracy, from the two ratios of the paper's figure 2."""
    names = (
        "contrast: which text\nbelongs to this image?",
        "predict the bag of words",
        "predict the caption\nword by word",
    )
    needed = (1, 4, 12)
    figure, (axis,) = new_figure(8.5, 3.8)
    axis.barh(range(3), needed, height=0.5, color=(MATCH, COLOURS[4], TEXT))
    for place, value in enumerate(needed):
        axis.annotate(f"{value}×", (value, place), (5, 0), textcoords="offset points", va="center")
    for place, (left, right, ratio) in enumerate(((1, 4, "4×"), (4, 12, "3×"))):
        axis.annotate(
            "",
            (right, place + 0.42),
            (left, place + 0.42),
            arrowprops={"arrowstyle": "<|-|>", "color": "#444444"},
        )
        axis.text((left + right) / 2, place + 0.48, ratio, ha="center", fontsize=12)
    axis.set_yticks(range(3), names)
    axis.set(xlim=(0, 13.5), xlabel="images seen for the same zero-shot accuracy (contrast = 1)")
    axis.grid(False, axis="y")
    return figure


def positives(view_a: Tensor, view_b: Tensor, image: Tensor, caption: str) -> Figure:
    """What counts as a positive pair: two views of one picture, or a picture and its text."""
    import textwrap

    figure, axes = new_figure(11, 4.4, 2)
    titles = ("SimCLR, MoCo: image and image", "CLIP: image and text")
    for axis, title in zip(axes, titles, strict=True):
        canvas(axis, 11, 8)
        axis.set_title(title)
    draw_image(axes[0], view_a, 0.3, 4.4, 3.0)
    draw_image(axes[0], view_b, 0.3, 0.6, 3.0)
    for y in (5.1, 1.3):
        box(axes[0], 4.6, y, 3.2, 1.6, "image\nencoder", IMAGE)
        arrow(axes[0], (3.4, y + 0.8), (4.5, y + 0.8))
        arrow(axes[0], (7.9, y + 0.8), (8.6, 4.0 + (0.7 if y > 3 else -0.7)))
    box(axes[0], 8.3, 3.4, 2.5, 1.2, "pull\ntogether", MATCH)
    draw_image(axes[1], image, 0.3, 4.4, 3.0)
    box(axes[1], 0.1, 0.6, 3.6, 3.0, textwrap.fill(caption, 15), TEXT, 11)
    for y, name, colour in ((5.1, "image\nencoder", IMAGE), (1.3, "text\nencoder", TEXT)):
        box(axes[1], 4.6, y, 3.2, 1.6, name, colour)
        arrow(axes[1], (3.8, y + 0.8), (4.5, y + 0.8))
        arrow(axes[1], (7.9, y + 0.8), (8.6, 4.0 + (0.7 if y > 3 else -0.7)))
    box(axes[1], 8.3, 3.4, 2.5, 1.2, "pull\ntogether", MATCH)
    return figure


def compositions(
    images: Sequence[Tensor], names: Sequence[str], held_out: Sequence[str], columns: int
) -> Figure:
    """The classes as a table of pictures; a frame and a cross mark those kept out of training."""
    import matplotlib.pyplot as plt

    rows = len(images) // columns
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.35 * columns, 1.6 * rows), layout="constrained", squeeze=False
    )
    plt.close(figure)
    for axis, image, name in zip(axes.flat, images, names, strict=True):
        axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        out = name in held_out
        axis.set_title(name, fontsize=11, weight="bold" if out else "normal")
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set(visible=out, color=FRAME, linewidth=5)
        if out:
            axis.plot((0.06, 0.22), (0.78, 0.94), color="white", transform=axis.transAxes)
            axis.plot((0.06, 0.22), (0.94, 0.78), color="white", transform=axis.transAxes)
    return figure


def accumulation(n: int = 8, parts: int = 4) -> Figure:
    """Which cells of the similarity matrix are computed: one batch, small batches, ranks."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    figure, axes = new_figure(12.5, 5.0, 3)
    each = n // parts
    block = np.kron(np.eye(parts), np.ones((each, each)))
    titles = (
        f"one batch of {n}\non one device",
        f"{parts} accumulated\nbatches of {each}",
        f"{parts} GPUs × {each} pairs,\nembeddings gathered",
    )
    cells = (np.ones((n, n)), block, np.ones((n, n)))
    for axis, title, computed in zip(axes, titles, cells, strict=True):
        shown = computed + np.eye(n)  # 0 not computed, 1 negative, 2 positive
        axis.imshow(shown, cmap=ListedColormap(["#F2F2F2", "#F3C6A5", MATCH]), vmin=0, vmax=2)
        negatives = int(computed.sum()) - n
        axis.set(title=title, xlabel=f"texts\n{negatives} negatives", ylabel="images")
        axis.set_xticks(np.arange(-0.5, n), minor=True)
        axis.set_yticks(np.arange(-0.5, n), minor=True)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(True, which="minor", color="white", linewidth=2, alpha=1)
        axis.tick_params(which="minor", length=0)
    for part in range(parts):
        first = part * each - 0.5
        axes[2].add_patch(
            Rectangle((-0.5, first), n, each, fill=False, edgecolor=IMAGE, linewidth=3, zorder=3)
        )
        axes[2].text(n - 0.3, first + each / 2, f"GPU {part}", va="center", fontsize=12)
    return figure


def patches(image: Tensor, patch: int) -> Figure:
    """A picture cut into patches, and the first rows of the sequence that they become."""
    figure, axes = new_figure(11, 4.6, 2, width_ratios=(1, 1.5))
    size = image.shape[-1]
    side = size // patch
    axes[0].imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    for at in range(0, size + 1, patch):
        axes[0].axhline(at - 0.5, color="white", linewidth=1)
        axes[0].axvline(at - 0.5, color="white", linewidth=1)
    for number in range(side * side):
        row, column = divmod(number, side)
        axes[0].text(
            (column + 0.5) * patch - 0.5,
            (row + 0.5) * patch - 0.5,
            str(number),
            color="white",
            fontsize=10,
            ha="center",
            va="center",
        )
    axes[0].set(title=f"{side}×{side} patches of {patch}×{patch} px", xlabel="x (px)")
    axes[0].set_ylabel("y (px)")
    axes[0].grid(False)
    cut = image.unfold(1, patch, patch).unfold(2, patch, patch)  # (3, side, side, patch, patch)
    tokens = cut.permute(1, 2, 3, 4, 0).reshape(side * side, patch, patch, 3).numpy()
    across = 16 if side * side >= 16 else side
    canvas(axes[1], across * 1.15, np.ceil(side * side / across) * 1.9)
    top = np.ceil(side * side / across) * 1.9
    for number in range(side * side):
        row, column = divmod(number, across)
        x, y = column * 1.15, top - 1.2 - row * 1.9
        axes[1].imshow(tokens[number], extent=(x, x + 1, y, y + 1), interpolation="nearest")
        axes[1].text(x + 0.5, y - 0.12, str(number), ha="center", va="top", fontsize=10)
    axes[1].set(
        xlim=(-0.1, across * 1.15), ylim=(-0.3, top), title="…read row by row: a sequence of tokens"
    )
    return figure


def towers() -> Figure:
    """CLIP as a drawing, with the names and shapes of the paper's figure 3."""
    figure, (axis,) = new_figure(12, 6.6)
    canvas(axis, 24, 13.2)
    image = (
        ("I   (n, h, w, 3)", "pixels"),
        ("patches\n→ tokens", "+ class token\n+ positions"),
        ("LayerNorm", "CLIP's extra one"),
        ("Transformer\nblocks", "each token sees\nall others"),
        ("class token", "LayerNorm\n→ $I_f$ (n, $d_i$)"),
        ("$W_i$", "no bias"),
        ("$I_e$  (n, $d_e$)", "unit length"),
    )
    text = (
        ("T   (n, l)", "token ids"),
        ("embedding", "+ positions"),
        None,
        ("Transformer\nblocks", "causal: each token\nsees those before it"),
        ("EOT token", "LayerNorm\n→ $T_f$ (n, $d_t$)"),
        ("$W_t$", "no bias"),
        ("$T_e$  (n, $d_e$)", "unit length"),
    )
    for rows, y, colour in ((image, 9.6, IMAGE), (text, 1.9, TEXT)):
        x, before = 0.2, None
        for entry in rows:
            if entry is not None:
                name, note = entry
                box(axis, x, y, 2.75, 1.7, name, colour, 11.5)
                where = "bottom" if y > 6 else "top"
                place = y + 1.85 if y > 6 else y - 0.15
                axis.text(x + 1.38, place, note, ha="center", va=where, fontsize=11)
                if before is not None:
                    arrow(axis, (before, y + 0.85), (x, y + 0.85))
                before = x + 2.75
            x += 3.4
    axis.text(0.2, 8.7, "image tower", color=IMAGE, fontsize=14, weight="bold")
    axis.text(0.2, 4.2, "text tower", color=TEXT, fontsize=14, weight="bold")
    box(
        axis,
        6.8,
        5.6,
        9.6,
        2.0,
        "logits = $e^{\\,t} \\; I_e\\, T_e^{\\top}$   (n, n)\nrow i: image i against every text",
        MATCH,
        14,
    )
    axis.plot([22.0, 22.0], [9.6, 7.0], color="#444444", linewidth=2)
    axis.plot([22.0, 22.0], [3.6, 6.2], color="#444444", linewidth=2)
    arrow(axis, (22.0, 7.0), (16.5, 7.0))
    arrow(axis, (22.0, 6.2), (16.5, 6.2))
    box(axis, 0.6, 5.7, 4.6, 1.8, "cross-entropy over rows\nand over columns", MATCH, 12)
    arrow(axis, (6.7, 6.6), (5.3, 6.6))
    return figure


def causal(words: Sequence[str]) -> Figure:
    """Which position may look at which, under the causal mask; the EOT row sees everything."""
    figure, (axis,) = new_figure(7.2, 5.6)
    from matplotlib.colors import ListedColormap

    n = len(words)
    allowed = np.tril(np.ones((n, n)))
    allowed[-1] = 2
    axis.imshow(allowed, cmap=ListedColormap(["#F2F2F2", "#F3C6A5", TEXT]))
    axis.set_xticks(range(n), words, rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(n), words)
    axis.set(xlabel="may look at this token", ylabel="this token")
    axis.set_title("only the last row has read the whole text")
    axis.set_xticks(np.arange(-0.5, n), minor=True)
    axis.set_yticks(np.arange(-0.5, n), minor=True)
    axis.grid(False)
    axis.grid(True, which="minor", color="white", linewidth=2, alpha=1)
    axis.tick_params(which="minor", length=0)
    return figure
