"""What a config.json or a params.json says, each value with the type and range it must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlcourse.weights.rename import WeightsError

LAYERS, HEADS = 1_000, 65_536  # more than any published model has; more is a slip
SIZE = 2**27  # of a vocabulary, a width, a context


class Settings:
    """A JSON object whose values are asked for by name; null is as if it were not there.

    Args:
        content: the object.
        name: what errors call its source.

    Raises:
        WeightsError: from each question, for a value of another type or out of its range.
    """

    def __init__(self, content: object, name: str) -> None:
        if not isinstance(content, Mapping):
            raise WeightsError(f"the settings of {name} are no JSON object: {_short(content)}")
        self.content, self.name = content, name

    def __contains__(self, key: str) -> bool:
        return self.content.get(key) is not None

    def get(self, key: str, default: Any = None) -> Any:
        """The value as it is, of any type."""
        return default if self.content.get(key) is None else self.content[key]

    def part(self, key: str) -> Settings:
        """An object inside this one; empty when it is not there."""
        return Settings(self.get(key, {}), f"{self.name}, {key}")

    def whole(self, key: str, default: int | None, high: int = SIZE, low: int = 1) -> int:
        """A whole number from ``low`` to ``high``; without a default it must be there."""
        value = self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error(key, value, f"a whole number from {low:,} to {high:,}")
        return value

    def square(self, key: str, default: int) -> int:
        """A size in pixels, which some files write as [height, width]."""
        size = self.get(key)
        if isinstance(size, (list, tuple)) and len(size) == 2 and size[0] == size[1]:
            return Settings({key: size[0]}, self.name).whole(key, None)
        return self.whole(key, default)

    def real(self, key: str, default: float | None, low: float, high: float) -> float:
        """A number above ``low``, at most ``high``; NaN is none."""
        value = self.get(key, default)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low < value <= high:
            raise self.error(key, value, f"a number above {low:,}, at most {high:,}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def need(self, key: str, default: Any, *allowed: Any) -> Any:
        """One of the values that our model is made for."""
        value = self.get(key, default)
        if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
            raise self.error(key, value, " or ".join(str(one) for one in allowed))
        return value

    def error(self, key: str, value: Any, expected: str) -> WeightsError:
        """The refusal of a value."""
        said = "no " + key if value is None else f"{key} {_short(value)}"
        return WeightsError(f"{self.name} has {said}; our model needs {expected}")


def _short(value: Any) -> str:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits; endless nesting
        shown = f"a {type(value).__name__} too long to show"
    return shown if len(shown) <= 60 else shown[:57] + "..."
