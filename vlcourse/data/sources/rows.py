"""Raw rows of a source, before anybody knows what their columns mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.splits import choose_split


@dataclass(frozen=True)
class Rows:
    """Raw rows: a ``datasets.Dataset``, or a ``datasets.IterableDataset`` when streaming."""

    data: Any
    name: str
    folder: Path | None
    """Where relative picture paths start."""
    bytes: int | None = None
    """The size on disk, where it is known."""
    starts: tuple[int, ...] | None = None
    """The number of the first row of each shard of a stream, where that is known."""
    table: bool = False
    """The rows came from a table or a folder, and name their pictures."""
    part: str | None = None
    """The split that is meant, where the rows hold all and have to be shared out."""
    values: Callable[[str], Iterable[Any]] | None = None
    """All values of a column, in all splits of the source."""
    features: tuple[Mapping[str, Any], ...] = ()
    """The types of the columns, by each file of all splits."""


def chosen_split(
    groups: Mapping[str, Sequence[Any]], split: str | None, where: str
) -> tuple[str, str | None]:
    """Which split to read, and the part of it where it has to be shared out."""
    if split is None:
        if len(groups) > 1:
            names = ", ".join(sorted(groups))
            raise SourceError(f"{where} holds several splits ({names}): choose one with split=.")
        return next(iter(groups)), None
    chosen, mixed = choose_split(groups, split, where)
    return chosen, split if mixed else None
