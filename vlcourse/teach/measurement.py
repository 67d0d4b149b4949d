"""What the ledger is made of: a claim, the measurement of it, and the verdict of its rule."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Word = Literal["holds", "does not show here", "fails"]
WIDTH = 99  # characters of a printed line
COLUMNS = ("claim", "the paper", "measured here", "interval over", "verdict")


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

    def with_own(self) -> Measurement:
        """The same, with its own number and interval among the others, as "own".

        Raises ValueError where it has no interval.
        """
        if self.low is None or self.high is None:
            raise ValueError("a measurement without an interval cannot be drawn with one")
        own = {"own": self.measured, "own low": self.low, "own high": self.high}
        return replace(self, others={**self.others, **own})

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
    unit: str  # "%" and "points" show fractions times 100
    experiment: str
    rule: Callable[[Measurement], Verdict]
    repeats: str = "trainings"  # what another seed makes anew
    items: str = "test items"  # what a bootstrap draws from


@dataclass(frozen=True)
class Row:
    """A row of the ledger. ``verdict`` is None where nothing was judged, and ``note`` says why.

    Printed, it takes a line for each of its cells, none longer than `WIDTH`.
    """

    claim: Claim
    result: Measurement | None
    verdict: Verdict | None
    note: str = ""

    def number(self) -> str:
        """The measured number with its interval and unit, or a dash."""
        if self.result is None:
            return "—"
        m, unit = self.result, self.claim.unit
        return f"{with_interval(m.measured, m.low, m.high, unit)} {unit}".strip()

    def over(self) -> str:
        """What the interval is over: several trainings, or the test items of a single one."""
        m = self.result
        if m is None or m.low is None:
            return "—"
        if m.seeds:
            return f"{len(m.seeds)} {self.claim.repeats}"
        return f"{self.claim.items}, one training"

    def cells(self) -> tuple[str, ...]:
        """Claim, the paper, measured here, what the interval is over, verdict."""
        return (
            f"`{self.claim.id}` {self.claim.statement}",
            self.claim.paper,
            self.number() if self.result is None else f"{self.number()}, {self.claim.metric}",
            self.over(),
            str(self.verdict) if self.verdict else self.note,
        )

    def __str__(self) -> str:
        names = ("the paper", "measured", "interval over", "verdict")
        lines = [f"{self.claim.id}: {self.claim.statement}"]
        lines += [f"  {n + ':':14} {cell}" for n, cell in zip(names, self.cells()[1:], strict=True)]
        return "\n".join(
            textwrap.fill(line, WIDTH, subsequent_indent=" " * 17, break_on_hyphens=False)
            for line in lines
        )


class Table(tuple[Row, ...]):
    """Rows of the ledger: a table in a notebook, and the printed rows elsewhere."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))

    __repr__ = __str__

    def markdown(self) -> str:
        """As a Markdown table."""
        lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        for row in self:
            cells = (cell.replace("|", r"\|") for cell in row.cells())
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    _repr_markdown_ = markdown  # what a notebook shows


def with_interval(
    value: float, low: float | None, high: float | None, unit: str = "", sign: str = ""
) -> str:
    """ "87.7 (86.2 to 89.1)"; with ``sign="+"`` "+1.0 (0.5 to 1.5)", as a change is written."""
    text = _format(value, unit, sign)
    if low is None or high is None:
        return text
    return f"{text} ({_format(low, unit)} to {_format(high, unit)})"


def _format(value: float, unit: str, sign: str = "") -> str:
    if unit in ("%", "points"):
        text = f"{100 * value:{sign}.1f}"
        text = text.lstrip("+-") if float(text) == 0 else text  # no "-0.0"
    else:
        text = f"{value:{sign}.3g}"
    return text.replace("-", "−") if "e" not in text else text
