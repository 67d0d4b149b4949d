"""Raw rows of a source, before anybody knows what their columns mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlcourse.data.sources.decode import SourceError, shorten
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
    files: tuple[Path, ...] = ()
    """The parquet files on this machine that the rows are in, one after the other."""


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


def each_row(data: Any, name: str) -> Iterator[dict[str, Any]]:
    """The rows of ``Rows.data``, one after another.

    Raises:
        SourceError: reading stopped.
    """
    # Batches, because the library's plain iterator divides its rows by the loader's workers.
    batches = data.iter(batch_size=64)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except Exception as error:  # parquet, network and file-system errors of the library
            raise SourceError(f"{name}: reading stopped: {shorten(str(error))}") from error
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))
