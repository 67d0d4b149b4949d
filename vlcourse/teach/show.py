"""Figures and code for the lectures: readable when projected, colour-blind safe, every axis named.

matplotlib and IPython are imported inside the functions. Each figure function returns a Figure; a
notebook shows it when it is the last value of a cell (``display(figure)`` elsewhere).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import vlcourse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which stays apart under the common kinds of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_MARKERS = "os^Dv*Px"


def style() -> None:
    """Set matplotlib's defaults for a projected lecture. Call it once, in the first cell."""
    import matplotlib as mpl
    from matplotlib.rcsetup import cycler

    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=list(COLOURS)),
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 15,
            "axes.labelsize": 14,
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "figure.figsize": (8.0, 4.5),
            "font.size": 13,
            "grid.alpha": 0.3,
            "image.cmap": "viridis",
            "legend.frameon": False,
            "legend.fontsize": 12,
            "lines.linewidth": 2.5,
            "savefig.dpi": 100,
            "xtick.labelsize": 12,
            "ytick.labelsize": 12,
        }
    )


def source(symbol: Any) -> Any:
    """The source of a function, method or class as Markdown, with its file and line.

    Raises TypeError when the symbol has no Python source (a built-in, a number).
    """
    from IPython.display import Markdown

    try:
        lines, start = inspect.getsourcelines(inspect.unwrap(symbol))
        file = inspect.getsourcefile(symbol)
    except (TypeError, OSError) as error:
        raise TypeError(
            f"show.source wants a Python function, method or class, not {symbol!r}"
        ) from error
    code = inspect.cleandoc("\n" + "".join(lines)) if lines[0][:1].isspace() else "".join(lines)
    return Markdown(f"`{_short(file)}`, line {start}\n\n```python\n{code.rstrip()}\n```")


def _short(file: str | None) -> str:
    if file is None:
        return "notebook"
    package = Path(vlcourse.__file__).resolve().parent
    path = Path(file).resolve()
    if path.is_relative_to(package.parent):
        return path.relative_to(package.parent).as_posix()
    return "this notebook" if "ipykernel" in path.as_posix() else path.name


def grid(
    images: Sequence[Any],
    captions: Sequence[str] | None = None,
    columns: int = 4,
    size: float = 2.4,
    title: str = "",
) -> Figure:
    """Images side by side, each over its caption (wrapped).

    ``images``: tensors or arrays (3, H, W) or (H, W, 3), uint8 or float in [0, 1]. ``size``: inches
    an image.
    """
    import textwrap

    pictures = [_picture(image, i) for i, image in enumerate(images)]
    if not pictures:
        raise ValueError("show.grid got no images")
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"show.grid got {len(pictures)} images but {len(captions)} captions")
    if columns < 1:
        raise ValueError(f"show.grid needs at least one column, not {columns}")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    wrapped = [textwrap.fill(c, int(size * 8)) for c in captions or [""] * len(pictures)]
    extra = 0.1 + 0.25 * max(c.count("\n") + bool(c) for c in wrapped)
    figure, axes = _subplots(rows, columns, (columns * size, rows * (size + extra)))
    for axis, picture, caption in zip(axes, pictures, wrapped, strict=False):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(caption, fontsize=12)
        axis.set_anchor("S")  # room left over goes above, to the caption
    for axis in axes:
        axis.axis("off")
    if title:
        figure.suptitle(title)
    return figure


def matrix(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    label: str = "",
    digits: int = 2,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """A heat map with names on both axes, the numbers inside (up to 12 × 12) and a colour bar.

    ``values``: (R, C). ``label``: name and unit of the colour bar. ``limits``: ends of
    the colour scale.
    """
    table = _array(values, "show.matrix")
    if table.shape != (len(rows), len(columns)):
        raise ValueError(
            f"show.matrix got values of shape {table.shape} but {len(rows)} row names"
            f" and {len(columns)} column names"
        )
    width, height = max(5.0, 0.8 * len(columns) + 3.5), max(3.5, 0.6 * len(rows) + 2.0)
    figure, (axis,) = _subplots(1, 1, (min(width, 14.0), min(height, 10.0)))
    low, high = limits if limits else (None, None)
    image = axis.imshow(table, vmin=low, vmax=high, aspect="auto")
    axis.grid(False)
    axis.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(rows)), rows)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if max(table.shape) <= 12:
        for r in range(table.shape[0]):
            for c in range(table.shape[1]):
                shade = float(image.norm(table[r, c]))
                colour = "black" if shade > 0.6 else "white"
                axis.text(c, r, f"{table[r, c]:.{digits}f}", ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axis, label=label)
    return figure


def curve(
    history: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    chance: float | None = None,
    xlabel: str = "training step",
    ylabel: str = "loss (nats)",
    title: str = "",
    x: str = "step",
    percent: bool = False,
) -> Figure:
    """``keys`` of a training history over its steps; a dashed line marks ``chance``.

    ``history``: dicts that hold ``x`` and some of the keys, as `engine.fit` returns them.
    ``percent``: the values (and chance) are fractions, shown times 100.
    """
    if isinstance(keys, str):
        raise TypeError(f"show.curve wants a list of keys: [{keys!r}]")
    figure, (axis,) = _subplots(1, 1, None)
    scale = 100.0 if percent else 1.0
    for n, key in enumerate(keys):
        points = [(row[x], scale * float(row[key])) for row in history if key in row and x in row]
        if not points:
            seen = sorted({name for row in history for name in row})
            raise ValueError(f"show.curve found no {key!r} in the history, which has {seen}")
        few = len(points) <= 20
        axis.plot(*zip(*points, strict=True), label=key, marker=_MARKERS[n % 8] if few else None)
    if chance is not None:
        axis.axhline(scale * chance, color="gray", linestyle="--", label="chance")
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(keys) > 1 or chance is not None:
        axis.legend()
    return figure


def bars(
    values: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]] | None = None,
    ylabel: str = "accuracy (%)",
    title: str = "",
    chance: float | None = None,
    percent: bool = True,
) -> Figure:
    """A bar a name, its interval (low, high) as an error bar, a dashed line at ``chance``."""
    if not values:
        raise ValueError("show.bars got no values")
    unknown = set(intervals or {}) - set(values)
    if unknown:
        raise ValueError(f"show.bars got intervals for {sorted(unknown)}, which have no value")
    scale = 100.0 if percent else 1.0
    figure, (axis,) = _subplots(1, 1, (max(5.0, 1.4 * len(values) + 2.0), 4.5))
    for n, (name, value) in enumerate(values.items()):
        low, high = (intervals or {}).get(name, (value, value))
        if not low <= value <= high:
            raise ValueError(f"show.bars: {name} is {value}, outside its interval {low} to {high}")
        error = [[scale * (value - low)], [scale * (high - value)]] if low < high else None
        axis.bar(n, scale * value, yerr=error, capsize=6, color=COLOURS[n % len(COLOURS)])
        axis.annotate(
            f"{scale * value:.3g}",
            (n, scale * high),
            (0, 4),
            textcoords="offset points",
            ha="center",
        )
    if chance is not None:
        axis.axhline(scale * chance, color="gray", linestyle="--", label="chance")
        axis.legend()
    axis.margins(y=0.12)
    axis.set_xticks(range(len(values)), list(values))
    axis.set(ylabel=ylabel, title=title)
    axis.grid(False, axis="x")
    return figure


def _subplots(
    rows: int, columns: int, size: tuple[float, float] | None
) -> tuple[Figure, list[Any]]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    plt.close(figure)  # else a notebook shows it twice: as the open figure and as the cell's value
    return figure, list(axes.flat)


def _array(values: Any, where: str) -> np.ndarray[Any, Any]:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    array = np.asarray(values)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise TypeError(f"{where} wants numbers, not {array.dtype}")
    return array.astype(float)


def _picture(image: Any, index: int) -> np.ndarray[Any, Any]:
    array = np.asarray(image.detach().cpu().numpy() if hasattr(image, "detach") else image)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        array = array.transpose(1, 2, 0)  # (3, H, W) -> (H, W, 3)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(
            f"show.grid: image {index} has shape {array.shape}, not (3, H, W) or (H, W, 3)"
        )
    if array.dtype != np.uint8 and (array.min() < -1e-6 or array.max() > 1 + 1e-6):
        raise ValueError(
            f"show.grid: image {index} holds values from {array.min():.2f} to {array.max():.2f};"
            " give uint8, or floats from 0 to 1 (undo the normalisation first)"
        )
    return array
