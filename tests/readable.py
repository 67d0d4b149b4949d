"""What makes a figure hard to read: words that cover a mark, that meet, or that are cut off."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

SMALLEST = 12  # points; a projected figure's words are read from the last row


def mishaps(figure: Figure) -> list[str]:
    """What is wrong with a figure's legends and with the words inside its axes; [] is well."""
    figure.draw_without_rendering()  # the layout makes room for the legends
    figure.canvas.draw()
    words = [(said, box) for axis in figure.axes for said, box in _words(axis)]
    points = np.concatenate([np.zeros((0, 2)), *map(_points, figure.axes)])
    found = [f"{said!r} covers a mark" for said, box in words if _inside(box, points)]
    found += [
        f"{one!r} and {other!r} meet"
        for (one, a), (other, b) in combinations(words, 2)
        if a.overlaps(b)
    ]
    whole = figure.bbox
    found += [f"{said!r} is cut off" for said, box in words if not _holds(whole, box)]
    found += [f"{said!r} is in {size:g} points" for said, size in _sizes(figure) if size < SMALLEST]
    return found


def _words(axis: Axes) -> list[tuple[str, Bbox]]:
    legend = axis.get_legend()
    boxes = [("the legend", legend.get_window_extent())] if legend else []
    texts = [text for text in axis.texts if text.get_text()]
    return boxes + [(text.get_text(), text.get_window_extent()) for text in texts]


def _sizes(figure: Figure) -> list[tuple[str, float]]:
    texts = [text for axis in figure.axes for text in axis.texts]
    for axis in figure.axes:
        if legend := axis.get_legend():
            texts += legend.get_texts()
    return [(text.get_text(), text.get_fontsize()) for text in texts if text.get_text()]


def _points(axis: Axes) -> np.ndarray:
    """(N, 2) of a figure's dots: all along each line and each bar of an error."""
    lines = [line.get_transform().transform(line.get_xydata()) for line in axis.lines]
    for bars in axis.collections:
        if isinstance(bars, LineCollection):
            lines += [bars.get_transform().transform(ends) for ends in bars.get_segments()]
    dense = [np.zeros((0, 2))]
    for line in lines:
        for start, end in zip(line, line[1:], strict=False):
            dense.append(start + np.linspace(0, 1, 200)[:, None] * (end - start))
        dense.append(line)
    return np.concatenate(dense)


def _inside(box: Bbox, points: np.ndarray) -> bool:
    return bool(((points > box.min) & (points < box.max)).all(axis=1).any())


def _holds(whole: Bbox, box: Bbox) -> bool:
    return bool((box.min >= whole.min - 1).all() and (box.max <= whole.max + 1).all())
