"""Figures of the overview lecture: diagrams, the timeline, the course's map, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vlcourse import paths
from vlcourse.teach.show import COLOURS, _subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vlcourse.teach.measurement import Row

BLUE, RED, GREEN, PURPLE, ORANGE, SKY = COLOURS[:6]
PALE, SAND, GREY = "#EEF3F8", "#F5E6C8", "#DDDDDD"


@dataclass(frozen=True)
class System:
    """A system of the timeline, dated by when it was first shown."""

    name: str
    shown: str  # YYMM: where a paper came first, as its arXiv number begins
    taught: bool = False  # a lecture of this course builds it

    @property
    def date(self) -> float:
        """The month as a fraction of the year: 2021.5 is the middle of 2021."""
        return 2000 + int(self.shown[:2]) + (int(self.shown[2:]) - 0.5) / 12


# The stages follow Awais et al. 2023 (arXiv 2307.13721). A system stands where its prompts put it.
STAGES: dict[str, tuple[System, ...]] = {
    "1 one task\nno prompt": (
        System("AlexNet", "1212"),
        System("VGG", "1409"),
        System("ResNet", "1512"),
        System("ViT", "2010"),
        System("DINO", "2104"),
    ),
    "2 prompted\nby text": (
        System("CLIP", "2101", True),  # announced on 5 January 2021, the paper came in February
        System("ALIGN", "2102"),
        System("BLIP", "2201", True),
        System("Flamingo", "2204"),
        System("CoCa", "2205"),
        System("BLIP-2", "2301", True),
        System("LLaMA", "2302", True),
        System("GPT-4", "2303"),
        System("Grounding DINO", "2303"),
        System("LLaMA-Adapter", "2303", True),
        System("VideoChat", "2305", True),
        System("VOYAGER", "2305"),
    ),
    "3 prompted by\npoints, boxes": (
        System("SAM", "2304"),
        System("SEEM", "2304"),
        System("SAM-Track", "2305"),
        System("FastSAM", "2306"),
    ),
    "4 many kinds\nof input": (
        System("MineDojo", "2206"),
        System("PaLM-E", "2303"),
        System("ImageBind", "2305"),
    ),
}

_SQUEEZED, _END = (2012.5, 2020.0), 2024.0  # the quiet years get a narrow part of the axis


def _where(year: float) -> float:
    return float(np.interp(year, [*_SQUEEZED, _END], [0.0, 2.4, 10.0]))


def timeline() -> Figure:
    """The four stages as lanes, each system at the month of its first paper."""
    figure, (axis,) = _subplots(1, 1, (13.0, 7.4))
    top = 0.0
    middles = []
    for lane, systems in enumerate(STAGES.values()):
        rows = _rows([(_where(s.date), 0.2 + 0.118 * len(s.name)) for s in systems])
        height = max(rows) + 1.7
        axis.axhspan(top, top + height, color=PALE if lane % 2 == 0 else "white", zorder=0)
        for system, row in zip(systems, rows, strict=True):
            x, y = _where(system.date), top + 0.85 + row
            colour = RED if system.taught else BLUE
            axis.plot(x, y, "D" if system.taught else "o", color=colour, markersize=9)
            weight = "bold" if system.taught else "normal"
            axis.text(x + 0.11, y, system.name, va="center", fontsize=13, weight=weight)
        middles.append(top + height / 2)
        top += height
    years = [2013, 2015, 2017, *range(2020, 2025)]
    axis.set_xticks([_where(y) for y in years], [str(y) for y in years])
    axis.set_yticks(middles, list(STAGES), fontsize=13)
    axis.axvline(_where(2020), color="gray", linestyle=":", linewidth=1.5)
    axis.set(xlim=(-0.1, 10.6), ylim=(top, 0), xlabel="first shown (year; wider from 2020 on)")
    axis.set_title("Four stages that overlap (red diamonds: built in this course)")
    axis.grid(False)
    axis.tick_params(axis="y", length=0)
    return figure


def _rows(boxes: Sequence[tuple[float, float]]) -> list[int]:
    """For boxes (left end, width), the first row in which each has room."""
    ends: list[float] = []
    out = []
    for left, width in boxes:
        row = next((r for r, end in enumerate(ends) if end < left - 0.1), len(ends))
        ends[row : row + 1] = [left + width]
        out.append(row)
    return out


def paradigms() -> Figure:
    """One model a task, against one model that is adapted to many tasks."""
    figure, (left, right) = _subplots(1, 2, (13.0, 4.6))
    tasks = ("classify", "find", "describe", "answer")
    for n, task in enumerate(tasks):
        y = 3.4 - n
        _box(left, 1.0, y, "labelled\ndata " + "ABCD"[n], PALE)
        _box(left, 3.6, y, f"model {'ABCD'[n]}", SKY)
        _box(left, 6.2, y, task, "white")
        _arrow(left, (1.9, y), (2.7, y))
        _arrow(left, (4.5, y), (5.3, y))
        _box(right, 6.2, y, task, "white")
        _arrow(right, (4.5, 1.9), (5.3, y))
    _box(right, 1.0, 1.9, "broad data,\nfew or no\nlabels", PALE, height=1.5)
    _box(right, 3.6, 1.9, "foundation\nmodel", ORANGE, height=1.5)
    _arrow(right, (1.9, 1.9), (2.7, 1.9))
    right.text(
        3.6, 0.35, "adapt: prompt,\nprobe or fine-tune", ha="center", va="center", fontsize=13
    )
    left.set_title("one model per task")
    right.set_title("one model, many tasks")
    for axis in (left, right):
        _blank(axis, (0, 7.2), (-0.2, 4.0))
    return figure


def bridge() -> Figure:
    """What a multimodal model bridges: pixels and words of one scene, far apart until encoded."""
    from vlcourse.data import world

    scene = world.Scene.sample(7, n_objects=2)
    figure, (axis,) = _subplots(1, 1, (12.0, 4.2))
    _blank(axis, (0, 12), (0, 4.2))
    picture = scene.render(224).permute(1, 2, 0).numpy()
    axis.imshow(picture, extent=(0.3, 2.1, 2.25, 4.05), aspect="auto", zorder=2)
    axis.text(1.2, 2.0, "3 × 224 × 224 numbers", ha="center", va="center", fontsize=12)
    _box(axis, 1.2, 1.0, _wrapped(scene.caption().text), "white", 2.3, 1.1)
    axis.text(1.2, 0.2, "a handful of token ids", ha="center", va="center", fontsize=12)
    _box(axis, 4.3, 3.1, "image\nencoder", SKY)
    _box(axis, 4.3, 1.0, "text\nencoder", ORANGE)
    _arrow(axis, (2.2, 3.1), (3.35, 3.1))
    _arrow(axis, (2.45, 1.0), (3.35, 1.0))
    _box(axis, 7.4, 2.05, "shared\nrepresentation", PALE, width=2.3, height=1.6)
    _arrow(axis, (5.25, 3.1), (6.2, 2.4))
    _arrow(axis, (5.25, 1.0), (6.2, 1.7))
    for n, use in enumerate(("match", "describe", "answer")):
        _box(axis, 10.6, 3.2 - 1.15 * n, use, "white")
        _arrow(axis, (8.6, 2.05), (9.7, 3.2 - 1.15 * n))
    return figure


def _wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 20)


def course_map() -> Figure:
    """The lectures as boxes, grey if still to come; an arrow leads to what builds on it."""
    figure, (axis,) = _subplots(1, 1, (13.0, 6.2))
    _blank(axis, (0, 13), (0, 6.2))
    lectures: Mapping[str, tuple[float, float, str, str]] = {
        "00": (1.4, 3.5, "00 Overview\nand toy world", SAND),
        "01": (4.6, 4.9, "01 CLIP\nmatch image, text", SKY),
        "02": (8.0, 4.9, "02 BLIP\nmatch and describe", SKY),
        "03": (11.5, 5.6, "03 CapFilt\nclean the captions", SKY),
        "04": (11.5, 4.1, "04 BLIP-2\nbridge to a frozen LLM", SKY),
        "05": (4.6, 2.1, "05 LLaMA\na language model", ORANGE),
        "06": (8.0, 2.1, "06 LLaMA-Adapter\nadapt it cheaply", ORANGE),
        "07": (11.5, 2.1, "07 VideoChat\ntalk about videos", PURPLE),
    }
    there = {path.name[:2] for path in (paths.root() / "lectures").glob("[0-9][0-9]_*.py")}
    for number, (x, y, text, colour) in lectures.items():
        _box(axis, x, y, text, colour if number in there else GREY, width=2.6, height=1.05)
    for link in ("00-01", "00-05", "01-02", "02-03", "02-04", "05-06", "06-07"):
        start, end = link.split("-")
        a, b = lectures[start], lectures[end]
        _arrow(axis, (a[0] + 1.35, a[1]), (b[0] - 1.35, b[1]))
    _arrow(axis, (11.5, 3.55), (11.5, 2.68))
    _box(axis, 8.05, 0.55, "08 Scaling up: plan, shard and stream all of these", GREY, 9.5, 0.8)
    axis.set_title("Grey lectures are still to come")
    return figure


def _box(
    axis: Axes,
    x: float,
    y: float,
    text: str,
    colour: str,
    width: float = 1.7,
    height: float = 0.8,
) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (x - width / 2, y - height / 2)
    style = "round,pad=0.02,rounding_size=0.12"
    patch = FancyBboxPatch(
        corner, width, height, style, facecolor=colour, edgecolor="black", lw=1.5
    )
    axis.add_patch(patch)
    axis.text(x, y, text, ha="center", va="center", fontsize=13)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "lw": 1.8, "color": "black"})


def _blank(axis: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    axis.set(xlim=x, ylim=y)
    axis.axis("off")


def splits() -> Figure:
    """Every colour with every shape, drawn; the pairs that training never shows are framed."""
    from vlcourse.data import world

    figure, (axis,) = _subplots(1, 1, (9.6, 7.2))
    n_rows, n_columns = len(world.SHAPES), len(world.COLOURS)
    for r, shape in enumerate(world.SHAPES):
        for c, colour in enumerate(world.COLOURS):
            thing = world.Object(colour, shape, "large", 0.5, 0.5, 0.3)
            picture = world.Scene((thing,), texture="gradient").render(96)
            area = (c - 0.5, c + 0.5, r + 0.5, r - 0.5)
            axis.imshow(picture.permute(1, 2, 0).numpy(), extent=area, aspect="equal")
    for colour, shape in world.HELD_OUT:
        c, r = world.COLOURS.index(colour), world.SHAPES.index(shape)
        frame: dict[str, Any] = {"fill": False, "lw": 5, "edgecolor": "#E69F00"}
        axis.add_patch(_rectangle((c - 0.44, r - 0.44), 0.88, 0.88, **frame))
    axis.set_xticks(range(n_columns), list(world.COLOURS))
    axis.set_yticks(range(n_rows), list(world.SHAPES))
    axis.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
    axis.set(xlabel="colour (8 words)", ylabel="shape (6 words)")
    axis.set_title("40 pairs in training; 8 framed pairs only in the held-out test")
    axis.grid(False)
    return figure


def _rectangle(corner: tuple[float, float], width: float, height: float, **look: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, **look)


def verdicts(rows: Mapping[str, Row], chance: float, bar: float) -> Figure:
    """Measured numbers with their intervals, the two lines of the rule, and the verdict in words.

    ``rows``: judged rows by name; ``bar``: what the lower end of an interval must pass to hold.
    """
    figure, (axis,) = _subplots(1, 1, (10.5, 1.8 + 0.75 * len(rows)))
    for n, row in enumerate(rows.values()):
        m = row.result
        assert m is not None and m.low is not None and m.high is not None and row.verdict
        error = [[100 * (m.measured - m.low)], [100 * (m.high - m.measured)]]
        colour = {"holds": GREEN, "fails": RED}.get(row.verdict.word, ORANGE)
        axis.errorbar(100 * m.measured, n, xerr=error, fmt="o", capsize=6, color=colour)
        place = {"xytext": (-5, 9), "textcoords": "offset points"}
        text = axis.annotate(row.verdict.word, (100 * m.low, n), **place, zorder=5)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    axis.axvline(100 * chance, color="gray", linestyle="--", label=f"chance, {chance:.1%}")
    axis.axvline(100 * bar, color="black", linestyle=":", label=f"the rule's bar, {bar:.1%}")
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set(xlim=(0, 112), ylim=(len(rows) - 0.5, -0.7), xlabel="accuracy on held-out pairs (%)")
    axis.set_xticks(range(0, 101, 20))
    figure.legend(loc="outside upper center", ncols=2)
    return figure
