"""Drawing of the toy world, many scenes at a time.

Only + - * /, sqrt, min, max and comparisons of float32, which IEEE 754 defines to the last bit,
and one operation per NumPy call, so that nothing is fused or reordered: the uint8 pixels are the
same on every machine. Shapes are signed distance functions (Inigo Quilez, "2D distance
functions"); the distance to the edge, in pixels, gives the coverage of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlcourse.data.world.arrays import (
    MAX_OBJECTS,
    TEXTURES,
    UNIT,
    SceneArrays,
    colour_index,
    shape_index,
)
from vlcourse.data.world.words import COLOURS, SHAPES, Array, hash64
from vlcourse.layers.ranges import RangeError

MIN_SIZE, MAX_SIZE = 32, 448

# Close to Okabe and Ito's palette for colour-blind readers (jfly.uni-koeln.de/color, 2008), with
# a redder vermilion and with white in place of black, since the backgrounds are dark.
RGB: dict[str, tuple[int, int, int]] = {
    "red": (222, 48, 32),
    "orange": (240, 150, 10),
    "yellow": (248, 236, 60),
    "green": (0, 158, 90),
    "cyan": (90, 205, 245),
    "blue": (40, 95, 225),
    "pink": (240, 130, 195),
    "white": (250, 250, 250),
}
_PALETTE = np.array([RGB[c] for c in COLOURS], np.float32)
_NODES = 17
_CHUNK_PIXELS = 1 << 17


def _circle(x: Array, y: Array) -> Array:
    return np.sqrt(x * x + y * y) - np.float32(0.94)


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - np.float32(0.82)


def _triangle(x: Array, y: Array) -> Array:
    y = y - np.float32(0.15)  # centres the bounding box
    slope = np.abs(x) * np.float32(0.8660254) - y * np.float32(0.5)
    return np.maximum(slope, y) - np.float32(0.56)


def _star(x: Array, y: Array) -> Array:
    # Reflect into one tenth of the star, then measure to the one edge that is left.
    k, h = np.float32(0.809017), np.float32(0.58778525)
    x, y = np.abs(x), np.float32(0.06) - y
    t = np.maximum(x * k - y * h, np.float32(0)) * np.float32(2)
    x, y = x - t * k, y + t * h
    t = np.maximum(y * -h - x * k, np.float32(0)) * np.float32(2)
    x, y = np.abs(x + t * k), y + t * h
    # The edge from the tip (0, 1.05) to the inner corner, which lies 0.48 out at 36 degrees.
    return x * np.float32(0.9175) + y * np.float32(0.3977) - np.float32(0.4176)


def _cross(x: Array, y: Array) -> Array:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.maximum(x, y) - np.float32(0.94), np.minimum(x, y) - np.float32(0.3))


def _ring(x: Array, y: Array) -> Array:
    return np.abs(np.sqrt(x * x + y * y) - np.float32(0.74)) - np.float32(0.23)


# Signed distance in units of the object's radius, x to the right and y down.
_DISTANCE: dict[str, Callable[[Array, Array], Array]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}


def render_arrays(scenes: SceneArrays, size: int) -> Array:
    """Draw B scenes, anti-aliased.

    Args:
        scenes: B scenes.
        size: height and width of the pictures in pixels, from 32 to 448.

    Returns:
        uint8 array (B, 3, size, size).

    Raises:
        ValueError: the size is not an integer from 32 to 448.
    """
    if size != int(size) or not MIN_SIZE <= size <= MAX_SIZE:
        raise RangeError(
            f"size must be a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}; got {size}."
        )
    size = int(size)
    out = np.empty((len(scenes), 3, size, size), np.uint8)
    step = max(1, _CHUNK_PIXELS // (size * size))  # the float picture of a chunk stays in cache
    for start in range(0, len(scenes), step):
        chunk = scenes[slice(start, start + step)]
        image = _background(chunk, size)
        draw_objects(image, chunk, size)
        _add_noise(image, chunk, size)
        image += np.float32(0.5)
        out[start : start + step] = image
    return out


def draw_objects(image: Array, scenes: SceneArrays, size: int) -> None:
    """Paint the objects over `image` (B, 3, S, S), each inside its own window only."""
    row, slot = np.nonzero(np.arange(MAX_OBJECTS) < scenes.count[:, None])
    large = scenes.size[row, slot]
    for group in np.unique(large):
        rows, slots = row[large == group], slot[large == group]
        pair, radius = scenes.pair[rows, slots], scenes.radius[rows, slots]
        # One window width for the group: the widest object, a pixel of blur, and rounding.
        width = min(size, 2 * int(radius.max()) * size // UNIT + 4)
        left = (scenes.x[rows, slots] - radius) * size // UNIT - 1
        top = (scenes.y[rows, slots] - radius) * size // UNIT - 1
        left, top = np.clip(left, 0, size - width), np.clip(top, 0, size - width)
        x = _offsets(left, scenes.x[rows, slots], radius, width, size)[:, None, :]
        y = _offsets(top, scenes.y[rows, slots], radius, width, size)[:, :, None]
        in_pixels = (radius * size).astype(np.float32) / np.float32(UNIT)
        cover = np.empty((len(rows), width, width), np.float32)
        shape = shape_index(pair)
        for index, name in enumerate(SHAPES):
            (mine,) = np.nonzero(shape == index)
            if len(mine):
                distance = _DISTANCE[name](x[mine], y[mine]) * in_pixels[mine, None, None]
                cover[mine] = np.clip(np.float32(0.5) - distance, 0, 1)
        # windows[b, top, left] is a writable view of one window of one picture.
        windows = np.lib.stride_tricks.sliding_window_view(
            image, (width, width), axis=(2, 3), writeable=True
        ).transpose(0, 2, 3, 1, 4, 5)
        paint = _PALETTE[colour_index(pair)][:, :, None, None]
        for k in range(MAX_OBJECTS):
            (mine,) = np.nonzero(slots == k)
            if len(mine):
                where = rows[mine], top[mine], left[mine]
                under = windows[where]
                windows[where] = under + cover[mine, None] * (paint[mine] - under)


def _offsets(start: Array, centre: Array, radius: Array, width: int, size: int) -> Array:
    """(M, width): pixel centres from `start` on, relative to the object, in its radii."""
    pixel = (start[:, None] + np.arange(width)).astype(np.float32) + np.float32(0.5)
    where = pixel * np.float32(UNIT / size) - centre[:, None].astype(np.float32)
    return where / radius[:, None].astype(np.float32)


def _background(scenes: SceneArrays, size: int) -> Array:
    """A dark, textured ground, float32 (B, 3, S, S), from a 17 x 17 table per scene."""
    # Bilinear enlargement of the tables: rows, then columns.
    at = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32((_NODES - 1) / size)
    below = at.astype(np.int64)
    weight = at - below.astype(np.float32)
    table = _tables(scenes)
    rows = table[:, below] + (table[:, below + 1] - table[:, below]) * weight[:, None]
    grey = rows[:, :, below]
    grey = grey + (rows[:, :, below + 1] - grey) * weight

    bits = hash64(scenes.seed, 11)[:, None] >> (np.arange(4, dtype=np.uint64) * np.uint64(8))
    byte = (bits & np.uint64(255)).astype(np.float32)  # (B, 4)
    new = (scenes.texture >= 2)[:, None]  # the textures of the shifted split have stronger tints
    tint = byte[:, 1:] * np.where(new, np.float32(0.25), np.float32(0.09))
    lift = np.where(new, np.float32(14), np.float32(32) + byte[:, :1] * np.float32(0.07))
    gain = np.where(new, np.float32(13), np.float32(11))
    return (lift + tint)[:, :, None, None] + (gain[:, :, None] * grey)[:, None]


def _tables(scenes: SceneArrays) -> Array:
    """float32 (B, 17, 17) in [-1, 1], one texture each."""
    n = len(scenes)
    table = np.empty((n, _NODES, _NODES), np.float32)
    i, j = np.arange(_NODES)[:, None], np.arange(_NODES)
    for index, name in enumerate(TEXTURES):
        (mine,) = np.nonzero(scenes.texture == index)
        if not len(mine):
            continue
        seed = scenes.seed[mine]
        if name == "noise":
            words = hash64(seed[:, None], 12, np.arange(-(-_NODES * _NODES // 8)))
            bytes_ = (words[:, :, None] >> (np.arange(8, dtype=np.uint64) * np.uint64(8))).reshape(
                len(mine), -1
            )
            values = (bytes_ & np.uint64(255)).astype(np.float32)[:, : _NODES * _NODES]
            values = values / np.float32(127.5) - np.float32(1)
            table[mine] = values.reshape(-1, _NODES, _NODES)
            continue
        bits = hash64(seed, 13)
        a = (bits & np.uint64(7)).astype(np.int64)[:, None, None]
        b = ((bits >> np.uint64(3)) & np.uint64(7)).astype(np.int64)[:, None, None]
        if name == "gradient":
            values = ((2 * a - 7) * (i - 8) + (2 * b - 7) * (j - 8)).astype(np.float32)
            table[mine] = values / np.float32(112)
        elif name == "stripes":  # across, upright, or slanted
            across = np.where(a < 3, i + 0 * j, np.where(a < 6, j + 0 * i, i + j))
            table[mine] = (across // 2 % 2 * 2 - 1).astype(np.float32)
        else:
            step = 2 + a % 3
            table[mine] = ((i // step + j // step) % 2 * 2 - 1).astype(np.float32)
    return table


def _add_noise(image: Array, scenes: SceneArrays, size: int) -> None:
    """Add triangular noise to every value of the scenes that ask for it, within [0, 255]."""
    (mine,) = np.nonzero(scenes.noise)
    if len(mine):
        place = np.arange(3 * size * size).reshape(3, size, size)
        bits = hash64(scenes.seed[mine, None, None, None], 14, place)
        low, high = bits & np.uint64(255), (bits >> np.uint64(8)) & np.uint64(255)
        triangle = (low.astype(np.float32) - high.astype(np.float32)) / np.float32(255)
        level = scenes.noise[mine].astype(np.float32)[:, None, None, None]
        image[mine] = np.clip(image[mine] + triangle * level, 0, 255)
