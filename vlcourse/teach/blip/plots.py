"""What the BLIP lecture measures; its drawings are in figures.py."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlcourse.teach.clip.figures import IMAGE, MATCH, OTHER, TEXT
from vlcourse.teach.drawing import GREY, name_line, new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSSES = {"itc": IMAGE, "itm": MATCH, "lm": TEXT, "itg": TEXT}
FOILS = COLOURS[3]


def soft(
    picture: Tensor, labels: Tensor, teacher: Tensor, mixed: Tensor, captions: Sequence[str]
) -> Figure:
    """One row's targets: the label, what the teacher thinks, and the mixture; (n,) each.

    ``picture``: (3, H, W) uint8, whose row it is.
    """
    order = mixed.argsort(descending=True)[:6].tolist()
    figure, (first, *axes) = new_figure(14, 4.0, 4, width_ratios=(0.7, 1, 1, 1))
    first.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
    first.axis("off")
    for axis, values, title, colour in zip(
        axes,
        (labels, teacher, mixed),
        ("the label", "the teacher", "the soft target"),
        (OTHER, COLOURS[3], MATCH),
        strict=True,
    ):
        for place, index in enumerate(order):
            value = 100 * float(values[index])
            axis.barh(-place, value, 0.6, color=colour)
            axis.annotate(
                f"{value:.0f}", (value, -place), (4, 0), textcoords="offset points", va="center"
            )
        axis.set(title=title, xlim=(0, 115), xlabel="probability (%)")
        axis.grid(False, axis="y")
    names = [textwrap.fill(captions[i], 34) for i in order]
    for axis in axes:
        axis.set_yticks([-i for i in range(len(order))], names if axis is axes[0] else [])
        axis.tick_params(axis="y", labelsize=11)
    return figure


def negatives(
    images: Tensor, own: Sequence[str], kinds: Mapping[str, Sequence[tuple[str, float]]]
) -> Figure:
    """Pictures, their captions, and wrong captions drawn in several ways.

    ``images``: (n, 3, H, W) uint8. ``kinds``: how they were drawn → n captions, each with the
    probability (0 to 1) with which it was drawn.
    """
    n = len(images)
    figure, axes = new_figure(14, 1.35 * n + 0.5, 2 + len(kinds), rows=n,
                              width_ratios=(0.5, *[1.0] * (1 + len(kinds))))  # fmt: skip
    cells = axes.reshape(n, -1)
    for row in range(n):
        cells[row, 0].imshow(images[row].permute(1, 2, 0).numpy(), interpolation="nearest")
        texts = [(own[row], MATCH)]
        for drawn in kinds.values():
            caption, chance = drawn[row]
            texts.append((f"{caption}\n({chance:.1%})", TEXT))
        for axis, (text, colour) in zip(cells[row, 1:], texts, strict=True):
            lines = "\n".join(textwrap.fill(line, 34) for line in text.split("\n"))
            axis.text(0.02, 0.5, lines, va="center", fontsize=12, color=colour)
            axis.set(xlim=(0, 1), ylim=(0, 1))
        for axis in cells[row]:
            axis.axis("off")
    for axis, title in zip(cells[0], ("picture", "its caption", *kinds), strict=True):
        axis.set_title(title, fontsize=13)
    return figure


def heat(picture: Tensor, words: Sequence[str], weights: Tensor) -> Figure:
    """Where each word looks: its attention over the image's grid, laid over the picture.

    ``picture``: (3, H, W) uint8; ``weights``: (words, g, g), each sums to 1.
    """
    columns = min(6, len(words) + 1)
    rows = -(-(len(words) + 1) // columns)
    figure, axes = new_figure(2.3 * columns + 0.6, 2.5 * rows, columns, rows=rows)
    shown = picture.permute(1, 2, 0).numpy()
    side = shown.shape[0]
    top = float(weights.max())
    for axis in axes:
        axis.axis("off")
    axes[0].imshow(shown, interpolation="nearest")
    axes[0].set_title("the picture", fontsize=12)
    for axis, word, grid in zip(axes[1:], words, weights, strict=False):
        axis.imshow(shown, interpolation="nearest", alpha=0.45)
        drawn = axis.imshow(
            grid.numpy(), cmap="magma", vmin=0, vmax=top, alpha=0.62,
            extent=(-0.5, side - 0.5, side - 0.5, -0.5), interpolation="nearest",
        )  # fmt: skip
        axis.set_title(word, fontsize=13)
    figure.colorbar(drawn, ax=list(axes), label="attention (share)", shrink=0.8)
    return figure


def training_log(log: Sequence[Mapping[str, float]], levels: Mapping[str, float]) -> Figure:
    """A training's losses on log axes, and what was measured along the way.

    ``log``: rows with "step" and "loss", perhaps each loss by name, some with shares (0 to 1).
    ``levels``: lines to compare with: name → nats.
    """
    figure, axes = new_figure(13.5, 4.8, 2)
    steps = [row["step"] for row in log]
    lines = {"loss": ("sum", "black")} | {n: (n.upper(), colour) for n, colour in LOSSES.items()}
    lines["foils"] = ("foils", FOILS)
    for name, (said, colour) in lines.items():
        if name in log[-1]:
            values = [row[name] for row in log]
            axes[0].plot(steps, values, color=colour, linewidth=2)
            end, up = mean(values[-20:]), {"itm": 6, "foils": -8}.get(name, 0)  # they may end alike
            name_line(axes[0], said, (steps[-1], end), colour, (8, up))
    for name, level in levels.items():
        axes[0].axhline(level, color=GREY, linestyle="--", linewidth=1.3)
        said = f"{name}: {level:.2f}"
        axes[0].text(steps[-1], level, said, ha="right", va="bottom", fontsize=12)
    axes[0].set(xscale="log", xlabel="training step (log)", ylabel="nats (log)", yscale="log")
    axes[0].set_title("the loss")
    names = {
        "text_to_image itc": ("recall@1, compared", IMAGE),
        "text_to_image": ("recall@1, re-ranked", MATCH),
        "true": ("captions true", TEXT),
        "balanced accuracy": ("hard pairs judged right", COLOURS[4]),
        "swapped relation": ("left and right told apart", FOILS),
    }
    measured = [row for row in log if "true" in row]
    for name, (said, colour) in names.items():
        rows = [row for row in measured if name in row]
        if rows:
            axes[1].plot(
                [r["step"] for r in rows], [100 * r[name] for r in rows], "o-", color=colour,
                label=said,
            )  # fmt: skip
    axes[1].set(xlabel="training step", ylabel="%", ylim=(0, 105), xlim=(0, None))
    axes[1].set_title("what is measured meanwhile")
    axes[1].legend(loc="lower right")
    return figure


def losses(log: Sequence[Mapping[str, float]], levels: Mapping[str, Mapping[str, float]]) -> Figure:
    """Each loss of a training by itself, on a log axis of steps.

    ``log``: rows with "step" and each loss by name. ``levels``: a loss → lines to compare with,
    name → nats.
    """
    figure, axes = new_figure(13.5, 3.9, len(levels))
    steps = [row["step"] for row in log]
    for axis, name in zip(axes, levels, strict=True):
        axis.plot(steps, [row[name] for row in log], color=LOSSES[name], linewidth=2)
        later = [row[name] for row in log if row["step"] ** 3 >= steps[-1]]  # below the words
        for said, level in levels[name].items():
            axis.axhline(level, color=GREY, linestyle="--", linewidth=1.3)
            low = level < min(later)
            axis.annotate(
                f"{said}: {level:.2f}", (steps[-1], level if low else max(level, *later)),
                (0, -8 if low else 8), textcoords="offset points", ha="right",
                va="top" if low else "bottom", fontsize=12,
            )  # fmt: skip
        top = max(*(row[name] for row in log), *levels[name].values())
        axis.set(xscale="log", xlabel="training step (log)", ylim=(0, 1.2 * top))
        axis.set_title(name.upper())
    axes[0].set_ylabel("loss (nats)")
    return figure


def ramps(half_lives: Mapping[str, Tensor], alpha: Tensor) -> Figure:
    """How much a twin still knows of a step t steps ago, and how α rises.

    ``half_lives``: momentum → (T,) weights; ``alpha``: (S,).
    """
    figure, axes = new_figure(12, 3.8, 2)
    for place, (name, weights) in enumerate(half_lives.items()):
        colour = COLOURS[place]
        axes[0].plot(100 * weights, color=colour, linewidth=2, label=f"m = {name}")
    axes[0].axhline(50, color=GREY, linestyle=":", linewidth=1.3)
    axes[0].set(xlabel="steps ago", ylabel="still in the twin (%)", ylim=(0, 105))
    axes[0].set_title("a momentum encoder's memory")
    axes[0].legend(loc="upper right")
    axes[1].plot(alpha, color=COLOURS[3], linewidth=2)
    axes[1].set(xlabel="training step", ylabel="α", ylim=(0, 0.5))
    axes[1].set_title("how much the teacher counts")
    return figure


def moved(before: Sequence[int], after: Sequence[int]) -> Figure:
    """The ranks of the right pictures, by comparing alone and after looking; 0 is first."""
    pairs = torch.stack([torch.tensor(before), torch.tensor(after)], dim=1) + 1
    figure, (axis,) = new_figure(7.5, 4.4)
    better, worse = 0, 0
    for old, new in pairs.tolist():
        if old == new:
            continue
        better, worse = better + (new < old), worse + (new > old)
        axis.plot([0, 1], [old, new], "o-", color=MATCH if new < old else TEXT, alpha=0.7)
    axis.set_xticks([0, 1], ["by comparing (ITC)", "after looking (ITM)"])
    axis.set(yscale="log", xlim=(-0.3, 1.3), ylabel="rank of the right picture (log)")
    axis.invert_yaxis()
    axis.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axis.minorticks_off()
    same = len(pairs) - better - worse
    axis.set_title(f"{better} texts do better, {worse} worse, {same} as before", fontsize=13)
    return figure
