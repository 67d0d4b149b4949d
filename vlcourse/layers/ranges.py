"""The ranges that settings may have: each config dataclass states its own, in `__post_init__`.

>>> def __post_init__(self) -> None:
...     check(self, layers=(1, 1_000), heads=(1, 1_000), eps=(1e-12, 1.0))
"""

from typing import Any

from vlcourse import VlcourseError


class RangeError(VlcourseError, ValueError):
    """A setting lies outside of what it may be; the sentence names it, its value and its range."""


def check(config: Any, **ranges: tuple[float, float]) -> None:
    """Raise RangeError unless low ≤ config.NAME ≤ high for each NAME=(low, high).

    NaN is in no range, and a bool or a text is no number. A field that is None ("not set") passes.
    The upper bound keeps a slip of the hand, such as 1e9 layers, from filling the memory before
    anything is said. `float("inf")` as bound leaves that side open; an infinite value never passes.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and low <= value <= high and abs(value) != float("inf")):
            shown = value if number else repr(value)[:60]
            raise RangeError(
                f"{name}={shown} is out of range in {type(config).__name__}; "
                f"{_bounds(low, high)} is what it may be."
            )


def _bounds(low: float, high: float) -> str:
    """ "1 to 1,000", "at least 0"."""
    return f"at least {low:,}" if high == float("inf") else f"{low:,} to {high:,}"
