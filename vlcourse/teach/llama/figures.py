"""The drawn figures of the LLaMA lecture: models, data, blocks and the cache.

Those of the three changes are in figures_parts.py, the plots of its measurements in
plots.py. Colours keep their meaning: green for LLaMA and what it changes, orange-red for
attention and keys, blue for the stream of states, grey for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vlcourse.teach.drawing import GREY, arrow, box, canvas, new_figure
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STREAM, ATTENTION, LLAMA, OTHER, PURPLE, ORANGE = *COLOURS[:3], GREY, COLOURS[3], COLOURS[4]

# Parameters and training tokens, in billions: Brown et al. 2020, Rae et al. 2021, Chowdhery et al.
# 2022, Hoffmann et al. 2022, and Touvron et al. 2023, table 2.
MODELS: dict[str, tuple[float, float]] = {
    "GPT-3": (175, 300),
    "Gopher": (280, 300),
    "PaLM": (540, 780),
    "Chinchilla": (70, 1400),
    "LLaMA-7B": (6.7, 1000),
    "LLaMA-13B": (13.0, 1000),
    "LLaMA-33B": (32.5, 1400),
    "LLaMA-65B": (65.2, 1400),
}

# Touvron et al. 2023, table 1: share of the training, and how often it is read in 1.4 T tokens.
MIXTURE: dict[str, tuple[float, float]] = {
    "CommonCrawl\n(web, 2017–2020, CCNet)": (67.0, 1.10),
    "C4\n(web, other filters)": (15.0, 1.06),
    "GitHub\n(Apache, BSD, MIT)": (4.5, 0.64),
    "Wikipedia\n(20 languages)": (4.5, 2.45),
    "Books\n(Gutenberg, Books3)": (4.5, 2.23),
    "arXiv": (2.5, 1.06),
    "Stack Exchange": (2.0, 1.03),
}


def models() -> Figure:
    """Parameters against training tokens, with lines of equal training compute."""
    figure, (axis,) = new_figure(10.5, 5.6)
    size = np.logspace(0.5, 3.2, 50)
    for exponent, at in ((22, 4.1), (23, 24.0), (24, 300.0)):
        axis.plot(size, 10**exponent / (6 * size * 1e18), ":", color=OTHER, linewidth=1.5)
        tokens = 10**exponent / (6 * at * 1e18)
        axis.annotate(
            f"$10^{{{exponent}}}$ FLOPs", (at, tokens), (5, 3), textcoords="offset points",
            color="#555555", fontsize=12,
        )  # fmt: skip
    axis.plot(size, 20 * size, "--", color="black", linewidth=1.5)
    axis.annotate(
        "20 tokens a parameter\n(about Chinchilla's rule)", (11, 220), (9, -6),
        textcoords="offset points", fontsize=12, va="top",
    )  # fmt: skip
    for name, (parameters, tokens) in MODELS.items():
        ours = name.startswith("LLaMA")
        axis.plot(
            parameters, tokens, "D" if ours else "o", color=LLAMA if ours else ATTENTION,
            markersize=7 if ours else 13, zorder=4 if ours else 3,  # 65B is beside Chinchilla
            label="LLaMA" if name == "LLaMA-7B" else "before" if name == "GPT-3" else None,
        )  # fmt: skip
        axis.annotate(
            name.removeprefix("LLaMA-"), (parameters, tokens), (0, 10) if ours else (10, -14),
            textcoords="offset points", ha="center" if ours else "left",
            weight="bold" if ours else "normal",
        )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlim=(3.5, 1400), ylim=(150, 3000))
    axis.set_xticks([7, 13, 33, 65, 175, 540], [7, 13, 33, 65, 175, 540])
    axis.set_yticks([300, 780, 1000, 1400], ["300", "780", "1,000", "1,400"])
    axis.minorticks_off()
    axis.set(xlabel="parameters (billions, log scale)", ylabel="training tokens (billions, log)")
    axis.legend(loc="lower left")
    return figure


def mixture() -> Figure:
    """LLaMA's training data: share of the tokens read, and how often each source is read."""
    figure, axes = new_figure(12, 4.8, 2, sharey=True, width_ratios=(1.5, 1))
    places = -np.arange(len(MIXTURE))
    share, epochs = (np.array([row[i] for row in MIXTURE.values()]) for i in (0, 1))
    web = [STREAM, STREAM, *[ORANGE] * 5]
    for axis, values, said in zip(axes, (share, epochs), ("{:g} %", "{:.2f}"), strict=True):
        axis.barh(places, values, 0.62, color=web)
        for place, value in zip(places, values, strict=True):
            axis.annotate(
                said.format(value), (value, place), (5, 0), textcoords="offset points", va="center"
            )
        axis.grid(False, axis="y")
    axes[0].set_yticks(places, list(MIXTURE))
    axes[0].set(xlim=(0, 78), xlabel="share of the tokens that are read (%)")
    axes[1].set(xlim=(0, 2.95), xlabel="epochs in 1.4 T tokens (times read)")
    axes[1].axvline(1, color="black", linewidth=1, linestyle="--", zorder=0)
    axes[0].set_title("blue: web pages, 82 %; orange: the rest")
    axes[1].set_title("how often it is read")
    return figure


def pipeline() -> Figure:
    """The three steps of CCNet, and LLaMA's fourth."""
    figure, (axis,) = new_figure(13, 3.5)
    canvas(axis, 26, 7)
    steps = (
        ("line dedup", "a line seen before,\non any page, goes:\nmenus, notices, ads", STREAM),
        ("language", "characters tell:\nfastText, page by page;\nkeep English", ATTENTION),
        ("quality", "how surprised is an\nn-gram model of\nWikipedia?", PURPLE),
        (
            "reference?",
            "linear classifier: like a\npage that Wikipedia\ncites? (LLaMA's own)",
            LLAMA,
        ),
    )
    box(axis, 0.2, 2.8, 3.0, 2.0, "web pages", OTHER, 13)
    for number, (name, note, colour) in enumerate(steps):
        x = 4.3 + 4.75 * number
        arrow(axis, (x - 1.0 if number == 0 else x - 1.1, 3.8), (x - 0.1, 3.8))
        box(axis, x, 2.8, 3.6, 2.0, name, colour, 14)
        axis.text(x + 1.8, 2.5, note, ha="center", va="top", fontsize=11.5)
    arrow(axis, (22.2, 3.8), (23.0, 3.8))
    box(axis, 23.1, 2.8, 2.7, 2.0, "text to\ntrain on", LLAMA, 13)
    axis.text(10.85, 5.3, "CCNet (Wenzek et al. 2020)", ha="center", fontsize=13)
    axis.plot([4.3, 17.4], [5.1, 5.1], color="#444444", linewidth=1.5)
    return figure


def blocks() -> Figure:
    """The block of 2017, GPT-2's and LLaMA's: where the norm stands, and what changed."""
    figure, axes = new_figure(13, 6.6, 3)
    titles = ("2017: norm after the sum", "GPT-2, GPT-3: norm before", "LLaMA: norm before")
    for axis, title in zip(axes, titles, strict=True):
        canvas(axis, 9, 14)
        axis.set_title(title)
    for axis, norm, mlp, attention, ours in (
        (axes[1], "LayerNorm", "MLP\n(GELU)", "attention", False),
        (axes[2], "RMSNorm", "SwiGLU", "attention\n+ RoPE", True),
    ):
        _stream(axis, 2.0, 0.9, 13.6)
        for base, name, kind in ((1.4, attention, ATTENTION), (7.3, mlp, STREAM)):
            _branch(axis, base, norm, name, LLAMA if ours else OTHER, kind, ours)
            _plus(axis, 2.0, base + 4.6)
    axis = axes[0]
    for low, high, head in ((0.9, 5.05, "-"), (6.25, 10.95, "-"), (12.15, 13.6, "-|>")):
        _stream(axis, 2.0, low, high, head)
    for base, name, colour in ((1.4, "attention", ATTENTION), (7.3, "MLP\n(ReLU)", STREAM)):
        axis.plot([2.0, 5.9], [base, base], color="#444444", linewidth=2)
        arrow(axis, (5.9, base), (5.9, base + 0.65))
        box(axis, 4.4, base + 0.7, 3.2, 1.5, name, colour, 13)
        axis.plot([5.9, 5.9], [base + 2.2, base + 2.9], color="#444444", linewidth=2)
        arrow(axis, (5.9, base + 2.9), (2.35, base + 2.9))
        _plus(axis, 2.0, base + 2.9)
        box(axis, 0.4, base + 3.65, 3.2, 1.2, "LayerNorm", OTHER, 13)
    axis.text(4.2, 12.3, "the stream itself\nis normed", fontsize=12, color="#444444")
    axes[1].text(3.2, 12.9, "the stream runs freely", fontsize=12, color="#444444")
    axes[2].text(3.2, 12.9, "green: changed; no biases", fontsize=12, color=LLAMA)
    return figure


def _branch(
    axis: Axes, base: float, norm: str, name: str, colour: str, kind: str, ours: bool
) -> None:
    """A pre-norm branch: out of the stream at (2, base), through two boxes, and back."""
    axis.plot([2.0, 5.9], [base, base], color="#444444", linewidth=2)
    arrow(axis, (5.9, base), (5.9, base + 0.45))
    box(axis, 4.4, base + 0.5, 3.0, 1.1, norm, colour, 13)
    arrow(axis, (5.9, base + 1.6), (5.9, base + 2.1))
    box(axis, 4.4, base + 2.15, 3.0, 1.6, name, LLAMA if ours else kind, 13)
    axis.plot([5.9, 5.9], [base + 3.75, base + 4.6], color="#444444", linewidth=2)
    arrow(axis, (5.9, base + 4.6), (2.35, base + 4.6))


def _stream(axis: Axes, x: float, low: float, high: float, head: str = "-|>") -> None:
    look: dict[str, Any] = {"arrowstyle": head, "linewidth": 4, "color": STREAM, "shrinkA": 0}
    axis.annotate("", (x, high), (x, low), arrowprops={**look, "shrinkB": 0, "mutation_scale": 22})
    if low < 1:
        axis.text(x, low - 0.1, "x", ha="center", va="top", fontsize=14, color=STREAM)


def _plus(axis: Axes, x: float, y: float) -> None:
    from matplotlib.patches import Circle

    axis.add_patch(Circle((x, y), 0.34, facecolor="white", edgecolor="black", lw=1.5, zorder=4))
    axis.text(x, y, "+", ha="center", va="center_baseline", fontsize=16, zorder=5)


def cache() -> Figure:
    """What a step of decoding computes with and without a cache, as cells of the attention map."""
    from matplotlib.patches import Rectangle

    figure, axes = new_figure(14, 5.0, 3, width_ratios=(1, 1, 1.15))
    n = 6
    words = ("a", "red", "ring", "left", "of", "a")
    for axis, title in zip(
        axes[:2], ("without: all of it again", "with a cache: one new row"), strict=True
    ):
        cached = axis is axes[1]
        for row in range(n):
            for column in range(row + 1):
                new = row == n - 1 or not cached
                colour = ATTENTION if new else "#DDDDDD"
                axis.add_patch(Rectangle((column, n - 1 - row), 0.92, 0.92, color=colour))
        axis.set(xlim=(-0.1, n), ylim=(-0.1, n), aspect="equal", title=title)
        axis.set_xticks(np.arange(n) + 0.46, words)
        axis.set_yticks(n - 1 - np.arange(n) + 0.46, words)
        axis.set(xlabel="keys and values of", ylabel="query of")
        axis.grid(False)
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
    axis = axes[2]
    canvas(axis, 12, 12)
    axis.set_title("one step, in one layer")
    box(axis, 0.0, 0.3, 5.2, 1.3, "the new token's x", STREAM, 13)
    for x, y, name in ((0.3, 6.4, "q"), (2.0, 4.4, "k"), (3.7, 2.4, "v")):
        box(axis, x, y, 1.2, 1.1, name, ATTENTION, 13)
        arrow(axis, (x + 0.6, 1.6), (x + 0.6, y - 0.05))
    for y, name in ((4.4, "keys"), (2.4, "values")):
        arrow(axis, (3.25 if name == "keys" else 4.95, y + 0.55), (5.6, y + 0.55))
        for place in range(6):
            colour = ATTENTION if place == 5 else "#CCCCCC"
            axis.add_patch(Rectangle((5.7 + 0.66 * place, y + 0.2), 0.6, 0.7, color=colour))
        axis.text(9.85, y + 0.55, name, va="center", fontsize=13)
    axis.text(7.6, 1.7, "kept from step to step", ha="center", fontsize=12)
    box(axis, 2.5, 8.4, 7.6, 1.4, "softmax(q · keysᵀ) · values", ATTENTION, 13)
    arrow(axis, (0.9, 7.5), (2.9, 8.35))
    arrow(axis, (7.6, 5.4), (6.9, 8.35))
    arrow(axis, (6.2, 9.85), (6.2, 11.2))
    return figure
