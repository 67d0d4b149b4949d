"""The toy world's vocabulary, its splits, and its source of randomness.

Randomness is a counter-based integer hash (the finaliser of splitmix64: Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014). A draw is a function of its keys
alone: there is no state, the order of calls does not matter, and every machine gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vlcourse.names import suggestion

Array = np.ndarray[Any, np.dtype[Any]]

COLOURS: tuple[str, ...] = (
    "red",
    "orange",
    "yellow",
    "green",
    "cyan",
    "blue",
    "pink",
    "white",
)
SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES: tuple[str, ...] = ("small", "large")
CLASSES: tuple[tuple[str, str], ...] = tuple((c, s) for c in COLOURS for s in SHAPES)

# One shape per colour, so each colour is held out exactly once and each shape at most twice.
HELD_OUT: tuple[tuple[str, str], ...] = tuple(
    (colour, SHAPES[(5 * i + 2) % len(SHAPES)]) for i, colour in enumerate(COLOURS)
)
SEEN: tuple[tuple[str, str], ...] = tuple(pair for pair in CLASSES if pair not in HELD_OUT)

SPLITS: tuple[str, ...] = ("train", "val", "test", "heldout", "shifted")
SHIFTS: tuple[str, ...] = ("background", "size", "noise")

# A scene's signature falls into one of 100 buckets, and the bucket decides the split. The shifted
# split draws its layouts from the test buckets, so that only its appearance is new. Held-out
# scenes need no bucket: each has a pair that no other split contains.
_BUCKETS: dict[str, tuple[int, int]] = {
    "train": (0, 80),
    "val": (80, 90),
    "test": (90, 100),
    "shifted": (90, 100),
    "heldout": (0, 100),
}

_MASK = (1 << 64) - 1
_GOLDEN, _M1, _M2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def hash64(*keys: Array | int) -> Array:
    """Hash broadcastable keys to uint64, elementwise.

    Args:
        keys: non-negative Python ints below 2**64, or integer arrays that broadcast together.

    Returns:
        uint64 array of the broadcast shape, uniform over all 64 bits.
    """
    h: Array = np.zeros(1, np.uint64)
    for key in keys:
        k = np.atleast_1d(np.asarray(key, dtype=np.uint64))
        h = (h ^ k) + np.uint64(_GOLDEN)
        h ^= h >> np.uint64(30)
        h *= np.uint64(_M1)
        h ^= h >> np.uint64(27)
        h *= np.uint64(_M2)
        h ^= h >> np.uint64(31)
    return h


def hash_int(*keys: int) -> int:
    """`hash64` for Python ints: the same bits, faster for one value at a time."""
    h = 0
    for key in keys:
        h = ((h ^ key) + _GOLDEN) & _MASK
        h = ((h ^ (h >> 30)) * _M1) & _MASK
        h = ((h ^ (h >> 27)) * _M2) & _MASK
        h ^= h >> 31
    return h


def scale(bits: Array, n: Array | int) -> Array:
    """Map the low 16 bits of each hash to an integer in [0, n), as int64; n at most 2**16."""
    return ((bits & np.uint64(0xFFFF)).astype(np.int64) * n) >> 16


def class_index(colour: str, shape: str) -> int:
    """Index of (colour, shape) in `CLASSES`. Raises ValueError for an unknown word."""
    c = COLOURS.index(check_choice("colour", colour, COLOURS))
    return c * len(SHAPES) + SHAPES.index(check_choice("shape", shape, SHAPES))


def allowed_pairs(split: str) -> tuple[tuple[str, str], ...]:
    """The (colour, shape) pairs that may be shown or named in a split's pictures and texts."""
    return CLASSES if split == "heldout" else SEEN


def in_split(signature: Array, split: str) -> Array:
    """Whether each uint64 scene signature belongs to the buckets of `split`; bool array."""
    low, high = _BUCKETS[split]
    bucket = signature % np.uint64(100)
    return (bucket >= np.uint64(low)) & (bucket < np.uint64(high))


def in_bucket(signature: int, split: str) -> bool:
    """`in_split` for one signature."""
    low, high = _BUCKETS[split]
    return low <= signature % 100 < high


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`, else raise ValueError naming the nearest one."""
    if value in choices:
        return value
    known = f"choose one of {', '.join(choices)}.{suggestion(str(value), choices)}"
    raise ValueError(f"Unknown {what} {value!r}: {known}")


def check_seed(seed: int) -> int:
    """Return `seed` as an int if it lies in [0, 2**64), else raise ValueError."""
    if not 0 <= int(seed) <= _MASK:
        raise ValueError(f"A seed must lie between 0 and 2**64 - 1; got {seed}.")
    return int(seed)
