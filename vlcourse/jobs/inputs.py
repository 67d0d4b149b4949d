"""What a job reads: pictures with texts, row by number, from every layout that we know.

Parquet shards are read where they lie, tar shards without unpacking them, tables and folders of
pictures by their table, data sets of the hub from the library's copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vlcourse.data.sources.columns import Columns, find_columns
from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.find import find_rows, local_path, matching
from vlcourse.data.sources.parquet import rows_between
from vlcourse.data.sources.rows import Rows
from vlcourse.data.sources.tar import open_tar
from vlcourse.jobs import JobError
from vlcourse.jobs.parts import MARK, OURS, finished

TEMPLATES = ("a photo of a {}.",)  # the text of a picture that has only a label


class Shard(Protocol):
    """Rows that lie together."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Rows ``start`` to ``stop``, undecoded."""
        ...


@dataclass(frozen=True)
class ParquetShard:
    """One parquet file."""

    file: Path
    rows: int
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return self.rows

    def read(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Rows ``start`` to ``stop``, undecoded."""
        return rows_between(self.file, list(self.columns), start, stop)


@dataclass(frozen=True)
class TableShard:
    """The rows of a table or of the hub: a ``datasets.Dataset``."""

    data: Any

    def __len__(self) -> int:
        return len(self.data)

    def read(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Rows ``start`` to ``stop``, undecoded."""
        for first in range(start, stop, 64):
            batch = self.data[first : min(first + 64, stop)]
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(batch, values, strict=True))


@dataclass(frozen=True)
class Input:
    """Rows with numbers.

    Attributes:
        columns: where picture and text are in a row, and how they are read.
        carried: the other columns that go along, with their types (of ``datasets``).
        rows: how many are to be read.
    """

    shards: tuple[Shard, ...]
    columns: Columns
    carried: dict[str, Any]
    rows: int

    def read(self, start: int, stop: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """The raw rows ``start`` to ``stop`` with their numbers.

        Raises:
            SourceError: a file is damaged.
        """
        first = 0
        for shard in self.shards:
            low, high = max(start - first, 0), min(stop - first, len(shard))
            if low < high:
                yield from enumerate(shard.read(low, high), first + low)
            first += len(shard)

    def name_of(self, row: dict[str, Any], number: int) -> str:
        """The row's id in the source: its own, or the file of its picture, or its number."""
        image = row[self.columns.image]
        if self.columns.id is None and isinstance(image, str) and image:
            return image
        return self.columns.key(row, number)


def open_input(
    source: str | Path,
    split: str | None = None,
    image: str | None = None,
    caption: str | None = None,
    limit: int | None = None,
) -> Input:
    """Open what a job reads.

    Args:
        source: as of ``open_source``; also .tar shards (a file, a folder of them, a glob), and the
            folder of an earlier job, of which the kept texts are read.
        split, image, caption: as of ``open_source``.
        limit: the first so many rows only.

    Raises:
        SourceError: as ``open_source``; or a tar file that cannot be read.
        JobError: the earlier job is not finished.
    """
    path = local_path(os.fspath(source))
    if (path / MARK).is_file():
        if not finished(path):
            raise JobError(f"{path} is a job that is not finished: let it end first")
        path = path / "kept"
        if not path.is_dir():
            raise JobError(f"{path.parent} kept no text at all, so that there is nothing to read")
        source = path
    opened = _tars(path) or _tables(source, split, image, caption)
    rows = sum(map(len, opened.shards))
    return Input(opened.shards, opened.columns, opened.carried, min(rows, limit or rows))


def _tars(path: Path) -> Input | None:
    if path.is_dir():
        files = sorted(path.rglob("*.tar"))
        if next(path.rglob("*.parquet"), None):  # as everywhere, these come first
            return None
    else:
        files = [path] if path.is_file() else matching(path)
        files = files if all(file.suffix.lower() == ".tar" for file in files) else []
    if not files:
        return None
    shards = tuple(map(open_tar, files))
    first = next(shards[0].read(0, 1))
    columns = Columns(
        image="image", caption="caption", label=None, id="__key__", picture=None, classes=(),
        stored=(), templates=(), name=path.stem if path.is_file() else path.name, folder=None,
    )  # fmt: skip
    import datasets

    kinds = {str: "string", bool: "bool", int: "int64", float: "float64"}
    carried = {
        name: datasets.Value(kinds[type(value)])
        for name, value in first.items()
        if type(value) in kinds and name not in {*OURS, "__key__", "image", "caption"}
    }
    return Input(shards, columns, carried, 0)


def _tables(source: str | Path, split: str | None, image: str | None, caption: str | None) -> Input:
    import datasets

    rows = find_rows(source, split, True, None, None)  # streaming makes no copy of parquet files
    if not rows.files and not rows.table:
        rows = find_rows(source, split, False, None, None)
    if rows.part is not None:
        raise SourceError(
            f"{rows.name} has only a split for training: a job reads it whole, without a split."
        )
    features = dict(rows.data.features)
    _, columns = find_columns(rows, image, caption, None, TEMPLATES, None)
    used = {columns.image, columns.caption, columns.id, *OURS, "caption", "captions"}
    carried = {
        name: kind
        for name, kind in features.items()
        if isinstance(kind, datasets.Value | datasets.ClassLabel) and name not in used
    }
    wanted = [columns.image, columns.caption, columns.label, columns.id, columns.picture]
    names = tuple(dict.fromkeys([n for n in wanted if n is not None] + list(carried)))
    if "origin" in features:  # the texts of an earlier job
        names = (*names, "origin")
    return Input(_shards(rows, names, columns.image), columns, carried, 0)


def _shards(rows: Rows, names: Sequence[str], image: str) -> tuple[Shard, ...]:
    import datasets
    import pyarrow.parquet

    if rows.files:
        counts = [pyarrow.parquet.read_metadata(file).num_rows for file in rows.files]
        pairs = zip(rows.files, counts, strict=True)
        return tuple(ParquetShard(file, count, tuple(names)) for file, count in pairs)
    data = rows.data.select_columns(list(names))
    if isinstance(data.features[image], datasets.Image):
        data = data.cast_column(image, datasets.Image(decode=False))
    return (TableShard(data),)


def fitting(value: Any, kind: Any) -> Any:
    """A carried value, or None where it is not of its column's type (JSON can hold anything)."""
    wanted = {"string": str, "bool": bool, "int64": int, "float64": float}.get(
        getattr(kind, "dtype", "")
    )
    if wanted is float and type(value) is int:
        return float(value)
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()  # half of a surrogate pair
    return value if wanted is None or type(value) is wanted else None
