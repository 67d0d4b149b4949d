"""What the LLaMA-Adapter lecture measures; its drawings are in figures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlcourse.teach import answers
from vlcourse.teach.adapter.figures import PROMPT, PROMPT_TEXT
from vlcourse.teach.clip.figures import TEXT
from vlcourse.teach.drawing import GREY, legend_below, name_line, new_figure, percent_axis
from vlcourse.teach.show import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS = "os^Dv"


def softmaxes(words: Mapping[str, float], prompts: Sequence[float], gate: float) -> Figure:
    """Whom a word looks at: before, with one softmax for all, and with two and a gate.

    Args:
        words: each word's score, before the softmax.
        prompts: each prompt's.
        gate: tanh of it.
    """
    text, told = torch.tensor([*words.values()]), torch.tensor(prompts)
    whole = torch.cat([text, told]).softmax(dim=0)
    zeros = torch.zeros(len(told))
    apart = torch.cat([text.softmax(0), gate * told.softmax(0)])
    panels = (
        ("before: the text alone", torch.cat([text.softmax(0), zeros])),
        ("one softmax for all", whole),
        (f"two softmaxes, tanh(gate) = {gate:g}", apart),
    )
    figure, axes = new_figure(13.5, 4.4, 3, sharey=True)
    names = [*words, *(f"prompt {i + 1}" for i in range(len(told)))]
    colours = [TEXT] * len(text) + [PROMPT] * len(told)
    for axis, (title, shares) in zip(axes, panels, strict=True):
        axis.bar(range(len(names)), (100 * shares).tolist(), color=colours)
        of_text = 100 * float(shares[: len(text)].sum())
        axis.set_title(f"{title}\ntext: {of_text:.0f} %", fontsize=14)
        axis.set_xticks(range(len(names)), names, rotation=90)
        axis.grid(False, axis="x")
    axes[0].set(ylabel="weight (%)", ylim=(0, 108 * float(text.softmax(0).max())))
    return figure


def starts(
    deviations: Sequence[float], losses: Mapping[str, Sequence[float]], before: float
) -> Figure:
    """The loss before the first step, by how far the gates are open.

    Args:
        deviations: of the gates at the start.
        losses: of adapted models by name, in nats a token.
        before: of the LLaMA alone.
    """
    figure, (axis,) = new_figure(9.5, 4.4)
    places = range(len(deviations))
    for number, (name, values) in enumerate(losses.items()):
        colour = COLOURS[(3, 1, 0)[number % 3]]
        axis.plot(places, values, f"{_MARKS[number]}-", color=colour, markersize=9)
        name_line(axis, name, (places[-1], values[-1]), colour, (9, 9))
    axis.axhline(before, color=GREY, linestyle="--", linewidth=1.5)
    axis.annotate(
        f"the LLaMA alone: {before:.2f}", (0, before), (0, -22), textcoords="offset points",
        fontsize=12,
    )  # fmt: skip
    axis.set_xticks(places, [f"{value:g}" for value in deviations])
    axis.set(
        xlabel="deviation of the gates at the start (0: zero-init)", ylabel="loss (nats a token)",
        xlim=(-0.2, places[-1] + 0.9), ylim=(0, 1.1 * max(map(max, losses.values()))),
    )  # fmt: skip
    return figure


def learning(runs: Mapping[str, Sequence[Mapping[str, float]]], over: int = 10) -> Figure:
    """Training losses of several runs, each the mean over the last ``over`` steps.

    ``runs``: a name → rows of "step" and "loss".
    """
    figure, (axis,) = new_figure(9, 4.2)
    for number, (name, rows) in enumerate(runs.items()):
        losses = [row["loss"] for row in rows]
        means = [mean(losses[max(0, i + 1 - over) : i + 1]) for i in range(len(losses))]
        colour = COLOURS[number % 7]
        axis.plot([row["step"] for row in rows], means, ("-", "--")[number % 2], color=colour,
                  label=name)  # fmt: skip
    axis.set(xlabel="training step", ylabel=f"loss (nats a token),\nmean of {over} steps")
    axis.set_ylim(bottom=0)
    axis.legend()
    return figure


def gates(values: Tensor, first: int) -> Figure:
    """Gates over the training, a panel a layer, a line a head.

    Args:
        values: (steps, layers, heads), after the tanh.
        first: number of the lowest of these layers, counted from 1.
    """
    steps, layers, heads = values.shape
    figure, axes = new_figure(5.6 * layers, 4.2, layers, sharey=True)
    for layer, axis in enumerate(axes):
        for head in range(heads):
            line, colour = values[:, layer, head], COLOURS[head % 7]
            axis.plot(range(1, steps + 1), line.tolist(), color=colour, label=f"head {head + 1}")
            axis.plot(steps, float(line[-1]), _MARKS[head % 5], color=colour, markersize=8)
        axis.axhline(0, color=GREY, linewidth=1)
        axis.set(xlabel="training step", title=f"layer {first + layer}")
    axes[0].set_ylabel("tanh(gate)")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def followed(told: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Instructions followed by kind, with 95 % intervals over instructions.

    ``told``: who → kind → float (n,), 1 for right.
    """
    looks = (("o", GREY), ("s", PROMPT_TEXT), ("^", COLOURS[0]))
    figure, (axis,) = new_figure(11, 4.6)
    shown = {who: answers.shares(marks) for who, marks in told.items()}
    answers.by_kind(axis, shown, looks, apart=0.2)
    axis.set_xlabel("kind of instruction")
    percent_axis(axis, "followed exactly (%)")
    legend_below(axis, 3)
    return figure


def interference(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """What training on captions does to captions, and to instructions.

    ``runs``: a name → rows of "step", "caption" and "instruct" (losses).
    """
    figure, axes = new_figure(13, 4.4, 2)
    panels = (
        ("caption", "captions, which are trained"),
        ("instruct", "instructions, which are not"),
    )
    for axis, (key, title) in zip(axes, panels, strict=True):
        for number, (name, rows) in enumerate(runs.items()):
            steps, losses = [r["step"] for r in rows], [r[key] for r in rows]
            colour = (COLOURS[1], COLOURS[0])[number % 2]
            style = ("-", "--")[number % 2]
            axis.plot(steps, losses, style, marker=_MARKS[number], color=colour, label=name)
        axis.set(xlabel="steps on captions", ylabel="loss (nats a token)", title=title)
        axis.set_ylim(bottom=0)
    axes[0].legend()
    return figure


def costs(sizes: Mapping[str, tuple[float, float]]) -> Figure:
    """Trained parameters of each way to adapt, on a log axis, with the bytes on disk.

    ``sizes``: a name → parameters, bytes.
    """
    figure, (axis,) = new_figure(11, 0.6 * len(sizes) + 1.4)
    places = range(len(sizes))[::-1]
    for place, (name, (count, size)) in zip(places, sizes.items(), strict=True):
        axis.plot(count, place, "o", markersize=12, color=PROMPT if "dapter" in name else GREY)
        unit = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
        axis.annotate(
            f"{count / 1e6:,.2f} M, {unit}", (count, place), (12, 0), textcoords="offset points",
            va="center",
        )  # fmt: skip
    axis.set_yticks(places, list(sizes))
    axis.set(xscale="log", xlabel="trained parameters (log)", ylim=(-0.6, len(sizes) - 0.4))
    counts = [count for count, _ in sizes.values()]
    axis.set_xlim(min(counts) / 2, 30 * max(counts))
    return figure
