"""The pencil of the figures: a canvas, boxes, arrows, pictures, and what plots are named by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#8C8C8C"


def new_figure(
    width: float, height: float, columns: int = 1, rows: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure of axes in columns and rows, sizes in inches, and the array of its axes, (n,)."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options
    )
    plt.close(figure)  # the cell's value shows it; an open figure would be shown twice
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.08, h_pad=0.08)
    return figure, axes.ravel()


def canvas(axis: Axes, width: float, height: float) -> None:
    """An empty sheet from (0, 0) to (width, height), in equal units, without axes."""
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axis.axis("off")


def box(
    axis: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    text: str,
    colour: str = GREY,
    size: float = 12,
) -> None:
    """A rounded box with its lower left corner at (x, y)."""
    from matplotlib.patches import FancyBboxPatch

    axis.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.1",
            edgecolor=colour,
            facecolor=colour + "22",
            linewidth=2,
        )
    )
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size)


def frozen(
    axis: Axes, x: float, y: float, width: float, height: float, text: str, colour: str = GREY
) -> None:
    """A box of what is not trained, its lower left corner at (x, y): white, its edge hatched."""
    from matplotlib.patches import Rectangle

    edge = {"facecolor": "#E8E8E8", "edgecolor": colour, "linewidth": 2, "hatch": "//"}
    axis.add_patch(Rectangle((x, y), width, height, **edge))  # type: ignore[arg-type]
    rim = min(0.22, height / 5)
    inner = (x + rim, y + rim), width - 2 * rim, height - 2 * rim
    axis.add_patch(Rectangle(*inner, facecolor="white", edgecolor="none", zorder=2))
    middle = x + width / 2, y + height / 2
    axis.text(*middle, text, ha="center", va="center", fontsize=13, zorder=3)


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow from one point to another."""
    axis.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "linewidth": 2, "color": "#444444", "mutation_scale": 16},
    )


def name_line(
    axis: Axes,
    text: str,
    point: tuple[float, float],
    colour: str,
    away: tuple[float, float] = (8, 0),
    pointer: bool = False,
) -> None:
    """A line's name beside one of its points, in its colour: no legend to look up.

    ``away``: from the point to the text, in points; ``pointer``: a thin line between both.
    """
    axis.annotate(
        text, point, away, textcoords="offset points", color=colour, weight="bold", fontsize=12,
        ha="right" if away[0] < 0 else "left", va="center",
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1} if pointer else None,
    )  # fmt: skip


def legend_below(axis: Axes, columns: int, drop: float = 0.2) -> None:
    """A legend where no data can be; ``drop``: below the axis, as a share of its height."""
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -drop), ncols=columns)


def percent_axis(axis: Axes, said: str) -> None:
    """Shares on the y axis, 0 to 100 %; farther where an interval that is drawn reaches farther."""
    low, high = axis.dataLim.intervaly
    axis.set(ylabel=said, ylim=(min(-3, low - 3), max(103, high + 3)))
    axis.set_yticks(range(0, 101, 20))


def image(axis: Axes, picture: Tensor, x: float, y: float, side: float) -> None:
    """A uint8 picture (3, H, W) drawn into the square at (x, y)."""
    axis.imshow(
        picture.permute(1, 2, 0).numpy(),
        extent=(x, x + side, y, y + side),
        interpolation="nearest",
        zorder=2,
    )
