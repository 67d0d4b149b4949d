"""How to write: the options of greedy decoding, sampling and beam search, and their ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from vlcourse import VlcourseError
from vlcourse.layers.ranges import check


class GenerateError(VlcourseError, ValueError):
    """A prompt, an option or a model with which nothing can be written."""


@dataclass(frozen=True)
class Options:
    """How to write; :func:`vlcourse.generate.loop.generate` explains each.

    Raises:
        RangeError: for a number out of its range.
        GenerateError: for two options that contradict each other, or one of a wrong kind.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 1
    length_penalty: float = 1.0
    n_best: int = 1
    repetition_penalty: float = 1.0
    end: int | Sequence[int] | None = None
    stop: Sequence[str] = ()
    pad: int | None = None
    min_new_tokens: int = 0

    def __post_init__(self) -> None:
        if unset := [name for name in _NUMBERS if vars(self)[name] is None]:
            raise GenerateError(f"{unset[0]} must be a number, not None")
        check(
            self, max_new_tokens=(1, 1_000_000), temperature=(0, 1e6), top_k=(0, inf),
            top_p=(1e-12, 1), beams=(1, 1_000), n_best=(1, 1_000), length_penalty=(-10, 10),
            repetition_penalty=(0.01, 100), pad=(-1_000_000, inf),
            min_new_tokens=(0, self.max_new_tokens),
        )  # fmt: skip
        whole = {name: vars(self)[name] or 0 for name in _WHOLE}
        if not all(isinstance(number, int) for number in whole.values()):
            *names, last = whole
            raise GenerateError(
                f"{', '.join(names)} and {last} are whole numbers, not "
                + ", ".join(map(str, whole.values()))
            )
        if not _ids(self.end):
            raise GenerateError(f"end must be an id or several, not {self.end!r:.60}")
        if 0 < self.temperature < 1e-6:
            raise GenerateError(
                f"temperature={self.temperature} is too small to divide by: 0 takes the likeliest"
            )
        if self.temperature == 0 and (self.top_k or self.top_p < 1):
            raise GenerateError("top_k and top_p filter what is drawn: set a temperature, 1.0 say")
        if self.n_best > self.beams:
            raise GenerateError(
                f"n_best must be between 1 and the {self.beams} beams, not {self.n_best}: "
                "a search finds as many texts as it has beams"
            )
        if self.beams > 1 and self.temperature:
            raise GenerateError(
                "beam search does not draw: leave the temperature at 0, or beams at 1"
            )
        if not _strings(self.stop):
            raise GenerateError(
                f"stop must be strings that are not empty, ('.',) say: {self.stop!r:.60}"
            )

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end a text."""
        if self.end is None:
            return ()
        return (self.end,) if isinstance(self.end, int) else tuple(self.end)

    @property
    def padding(self) -> int:
        """What stands after the end: ``pad``, or else the first end id, or else 0."""
        return self.pad if self.pad is not None else (*self.ends, 0)[0]


_WHOLE = ("max_new_tokens", "min_new_tokens", "top_k", "beams", "n_best", "pad")
_NUMBERS = (
    "max_new_tokens", "temperature", "top_k", "top_p", "beams", "length_penalty", "n_best",
    "repetition_penalty", "min_new_tokens",
)  # fmt: skip


def _ids(end: object) -> bool:
    """Is it None, an id, or several?"""
    several = end if isinstance(end, Sequence) else [] if end is None else [end]
    return all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in several)


def _strings(stop: object) -> bool:
    """Is it several strings, none of them empty?"""
    several = isinstance(stop, Sequence) and not isinstance(stop, str)
    return several and all(isinstance(s, str) and s for s in stop)  # type: ignore[attr-defined]
