"""What the ledger is made of: a claim, the measurement of it, and the verdict of its rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Word = Literal["holds", "does not show here", "fails"]


@dataclass(frozen=True)
class Verdict:
    """The word, and the reason (required for "does not show here")."""

    word: Word
    reason: str = ""

    def __post_init__(self) -> None:
        if self.word == "does not show here" and not self.reason:
            raise ValueError("the verdict 'does not show here' needs a reason")

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}" if self.reason else self.word


@dataclass(frozen=True)
class Measurement:
    """What an experiment returns: the number, its interval, and what made it.

    ``low``, ``high``: the ends of the interval, over ``seeds`` (at least 3) or over ``bootstrap``
    resamples of the test set. ``others``: further numbers that the rule needs; ``figure``: the data
    of the lecture's plot.
    """

    measured: float
    low: float | None = None
    high: float | None = None
    seeds: tuple[int, ...] = ()
    bootstrap: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)
    figure: Mapping[str, Any] = field(default_factory=dict)

    def judged_by(self) -> str | None:
        """Why this measurement cannot be judged, in words; None when it can."""
        if self.low is None or self.high is None:
            return "it has no interval: give low and high"
        if not all(math.isfinite(v) for v in (self.measured, self.low, self.high)):
            return "its numbers are not all finite"
        if not self.low <= self.measured <= self.high:
            return f"{self.measured} lies outside its interval {self.low} to {self.high}"
        if len(set(self.seeds)) < 3 and self.bootstrap < 100:
            return "its interval rests on fewer than 3 seeds and on fewer than 100 resamples"
        return None


@dataclass(frozen=True)
class Claim:
    """One headline claim. ``experiment``: "module:function", which returns a `Measurement`."""

    id: str
    statement: str
    paper: str  # the paper's number, and where it stands
    metric: str
    unit: str  # "%" shows fractions times 100
    experiment: str
    rule: Callable[[Measurement], Verdict]


@dataclass(frozen=True)
class Row:
    """A row of the ledger. ``verdict`` is None where nothing was judged, and ``note`` says why."""

    claim: Claim
    result: Measurement | None
    verdict: Verdict | None
    note: str = ""

    def number(self) -> str:
        """The measured number with its interval and unit, or a dash."""
        if self.result is None:
            return "—"
        m, unit = self.result, self.claim.unit
        text = _format(m.measured, unit)
        if m.low is not None and m.high is not None:
            text += f" ({_format(m.low, unit)} to {_format(m.high, unit)})"
        return f"{text} {unit}".strip()

    def __str__(self) -> str:
        said = str(self.verdict) if self.verdict else self.note
        return f"{self.claim.id}: {self.claim.metric}: {self.number()}: {said}"


def _format(value: float, unit: str) -> str:
    return f"{100 * value:.1f}" if unit == "%" else f"{value:.3g}"
