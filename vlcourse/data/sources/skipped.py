"""What a stream could not use: counted, reported, and judged when it becomes too much."""

from __future__ import annotations

from collections import Counter

from vlcourse.data.sources.decode import ENOUGH, BadSampleError, SourceError, skip_report


class Skipped:
    """The tally of one pass over a source.

    Args:
        name: of the source, for its report.
        most: the greatest share of samples that may be skipped.
    """

    def __init__(self, name: str, most: float) -> None:
        self._name, self._most = name, most
        self.clear()

    def clear(self) -> None:
        """A new pass begins."""
        self._tried = 0
        self._counts: Counter[str] = Counter()
        self._examples: list[tuple[str, BadSampleError]] = []

    def __len__(self) -> int:
        """How many were skipped."""
        return self._counts.total()

    def tried(self) -> None:
        """One more sample was looked at."""
        self._tried += 1

    def add(self, key: str, bad: BadSampleError) -> None:
        """The sample of that name cannot be used.

        Raises:
            SourceError: when too many cannot.
        """
        self._counts[bad.reason] += 1
        if len(self._examples) < 3:
            self._examples.append((key, bad))
        if self._tried >= ENOUGH:
            self.judge()

    def judge(self) -> None:
        """Raise SourceError when too many were skipped."""
        if len(self) > self._most * self._tried:
            raise SourceError(f"{self.report()} More than {self._most:.0%} is too many.")

    def report(self) -> str:
        """One sentence: how many were skipped, why, and the first three."""
        return skip_report(self._name, self._tried, self._counts, self._examples)
