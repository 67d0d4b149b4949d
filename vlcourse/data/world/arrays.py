"""Sampling of the toy world's scenes as arrays: what is where, many scenes at a time.

All geometry is in integers, with the picture `UNIT` wide and high, so that "above", "overlaps"
and the scene's split are decided exactly, on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlcourse.data.world.words import (
    CLASSES,
    HELD_OUT,
    SEEN,
    SHAPES,
    SHIFTS,
    SIZES,
    SPLITS,
    Array,
    check_choice,
    hash64,
    in_split,
    scale,
)
from vlcourse.layers.ranges import RangeError

UNIT = 1024
MAX_OBJECTS = 4
# Radius ranges of small and large objects: 7 and 12 pixels across in a 32-pixel picture.
RADII = ((112, 126), (182, 200))
SHIFTED_RADII = ((92, 104), (216, 236))
# Centres are at least 15/16 of the sum of the radii apart. With the smallest radius this leaves
# max(|dx|, |dy|) >= 92 * 2 * 15/16 / sqrt(2) = 122, so that at least one of the four spatial
# relations holds between any two objects.
MARGIN = 112
TEXTURES = ("noise", "gradient", "stripes", "checks")
NOISE_LEVEL = 48
_CANDIDATES = 6
_MAX_ATTEMPTS = 20_000

_SEEN = np.array([CLASSES.index(pair) for pair in SEEN])
_HELD_OUT = np.array([CLASSES.index(pair) for pair in HELD_OUT])


@dataclass(frozen=True)
class SceneArrays:
    """B scenes as arrays. Rows of objects past `count` hold zeros.

    seed (B,) uint64; count (B,); pair, size, x, y, radius (B, 4): class index, index into
    `SIZES`, centre and radius in units of 1/1024 of the picture, y downwards; texture (B,) index
    into `TEXTURES`; noise (B,) half-width of the pixel noise in grey levels.
    """

    seed: Array
    count: Array
    pair: Array
    size: Array
    x: Array
    y: Array
    radius: Array
    texture: Array
    noise: Array

    def __len__(self) -> int:
        return len(self.seed)

    def __getitem__(self, rows: slice | Array) -> SceneArrays:
        return SceneArrays(**{name: value[rows] for name, value in vars(self).items()})

    def signature(self) -> Array:
        """uint64 (B,): equal for scenes with the same objects in the same 1/32 cells.

        Independent of the order of the objects and of the background, so that two splits differ
        in what is shown, and not merely in how.
        """
        return signature(self.count, self.pair, self.size, self.x, self.y)


def signature(count: Array, pair: Array, size: Array, x: Array, y: Array) -> Array:
    """See `SceneArrays.signature`."""
    what = pair * len(SIZES) + size
    per_object = hash64((what << 10) | ((x >> 5) << 5) | (y >> 5))
    per_object[np.arange(MAX_OBJECTS) >= count[:, None]] = 0
    return hash64(per_object.sum(axis=1, dtype=np.uint64))


def check_objects(objects: tuple[int, int]) -> tuple[int, int]:
    """The least and greatest number of objects of a scene, if they can be; else RangeError."""
    low, high = objects
    if not 1 <= low <= high <= MAX_OBJECTS:
        raise RangeError(
            f"objects must satisfy 1 <= least <= greatest <= {MAX_OBJECTS}; got {objects}."
        )
    return low, high


def sample_arrays(
    seeds: Array,
    split: str = "train",
    objects: tuple[int, int] = (1, MAX_OBJECTS),
    shift: str | None = None,
) -> SceneArrays:
    """Sample one scene per seed; a scene depends on its own seed and the arguments only.

    Args:
        seeds: (B,) uint64.
        split: one of `SPLITS`.
        objects: least and greatest number of objects; every number in between is equally likely.
        shift: for the split "shifted", one of `SHIFTS`, or None to mix the three.

    Raises:
        ValueError: unknown split or shift, a shift for another split, or a bad object range.
    """
    check_choice("split", split, SPLITS)
    low, high = check_objects(objects)
    if shift is not None:
        check_choice("shift", shift, SHIFTS)
        if split != "shifted":
            raise ValueError(f"shift={shift!r} needs split='shifted'; got split={split!r}.")
    seeds = np.asarray(seeds, dtype=np.uint64)
    n = len(seeds)
    if split == "shifted":
        mixed = scale(hash64(seeds, 1), len(SHIFTS))
        kind = mixed if shift is None else np.full(n, SHIFTS.index(shift))
    else:
        kind = np.full(n, -1)
    count = low + scale(hash64(seeds, 2), high - low + 1)
    radii = np.array([RADII, SHIFTED_RADII])[(kind == SHIFTS.index("size")).astype(int)]
    texture = scale(hash64(seeds, 3), 2) + 2 * (kind == SHIFTS.index("background"))
    noise = NOISE_LEVEL * (kind == SHIFTS.index("noise"))

    fields = np.zeros((5, n, MAX_OBJECTS), np.int64)
    pending = np.arange(n)
    for attempt in range(_MAX_ATTEMPTS):
        if not len(pending):
            pair, size, x, y, radius = fields
            return SceneArrays(seeds, count, pair, size, x, y, radius, texture, noise)
        base = hash64(seeds[pending], 4, attempt)
        drawn, good = _attempt(base, count[pending], radii[pending], split)
        fields[:, pending[good]] = drawn[:, good]
        pending = pending[~good]
    raise RuntimeError(f"No layout found for seed {seeds[pending[0]]} in split {split!r}.")


def _attempt(base: Array, count: Array, radii: Array, split: str) -> tuple[Array, Array]:
    """One try per scene: drawn (5, P, 4) of pair, size, x, y, radius, and whether to keep it."""
    slots = np.arange(MAX_OBJECTS)
    present = slots < count[:, None]  # (P, 4)
    bits = hash64(base[:, None], slots)
    pool = np.arange(len(CLASSES)) if split == "heldout" else _SEEN
    pair = pool[scale(bits, len(pool))]
    if split == "heldout":
        pair[:, 0] = _HELD_OUT[scale(bits[:, 0], len(_HELD_OUT))]
    size = ((bits >> np.uint64(16)) & np.uint64(1)).astype(np.int64)
    limits = np.take_along_axis(radii, size[:, :, None], axis=1)  # (P, 4, 2)
    radius = limits[..., 0] + scale(bits >> np.uint64(17), limits[..., 1] - limits[..., 0])

    # Each object takes the first of its candidate places that is clear of the objects before it.
    spots = hash64(bits[:, :, None], np.arange(_CANDIDATES))  # (P, 4, C)
    edge = (radius + 16)[:, :, None]
    xs = edge + scale(spots, UNIT - 2 * edge)
    ys = edge + scale(spots >> np.uint64(16), UNIT - 2 * edge)
    x, y = xs[:, :, 0].copy(), ys[:, :, 0].copy()
    good = np.ones(len(base), bool)
    for j in range(1, int(count.max())):
        dx = xs[:, j, :, None] - x[:, None, :j]  # (P, C, j)
        dy = ys[:, j, :, None] - y[:, None, :j]
        reach = radius[:, j, None] + radius[:, :j]
        clear = (256 * (dx * dx + dy * dy) >= 225 * (reach * reach)[:, None]).all(axis=2)
        first = clear.argmax(axis=1)[:, None]
        x[:, j] = np.take_along_axis(xs[:, j], first, axis=1)[:, 0]
        y[:, j] = np.take_along_axis(ys[:, j], first, axis=1)[:, 0]
        repeated = (pair[:, j, None] == pair[:, :j]).any(axis=1)
        good &= ~present[:, j] | (clear.any(axis=1) & ~repeated)
    drawn = np.stack([pair, size, x, y, radius]) * present
    good &= in_split(signature(count, *drawn[:4]), split)
    return drawn, good


def shape_index(pair: Array) -> Array:
    """Index into `SHAPES` of each class index."""
    return pair % len(SHAPES)


def colour_index(pair: Array) -> Array:
    """Index into `COLOURS` of each class index."""
    return pair // len(SHAPES)
