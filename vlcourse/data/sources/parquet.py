"""Rows from parquet files, through the ``datasets`` library."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from vlcourse import paths
from vlcourse.data.sources.decode import SourceError, shorten
from vlcourse.data.sources.rows import Rows, chosen_split

Features = Mapping[str, Any]


def parquet_rows(
    groups: dict[str, list[Path]],
    split: str | None,
    name: str,
    folder: Path,
    where: str,
    streaming: bool,
) -> Rows:
    """The rows of shards, which come by split.

    Raises:
        SourceError: no such split, a damaged file, or shards that do not agree.
    """
    import pyarrow.parquet

    chosen, part = chosen_split(groups, split, where)
    feet = {file: _foot(file) for file in chain(*groups.values())}
    files = groups[chosen]
    first = feet[files[0]][1]
    for file in files:
        here = feet[file][1]
        if list(here) != list(first):
            raise SourceError(
                f"{file} has the columns {shorten(', '.join(here), 400)}, but {files[0]} has "
                f"{shorten(', '.join(first), 400)}."
            )
    # The library cannot read an empty file.
    files = [file for file in files if feet[file][0]]
    if not files:
        raise SourceError(f"{name} has no rows.")
    for file in files:
        if _class_names(feet[file][1]) != _class_names(feet[files[0]][1]):
            raise SourceError(f"{file} and {files[0]} name their classes differently.")
    data = _load([str(file) for file in files], streaming)
    starts = tuple(accumulate((feet[file][0] for file in files[:-1]), initial=0))
    size = sum(file.stat().st_size for file in files)

    def values(column: str) -> Iterable[Any]:
        for file, (_, features) in feet.items():
            if column in features:
                with _reading(file):
                    table = pyarrow.parquet.read_table(file, columns=[column])
                    yield from table.column(0).unique().to_pylist()

    kinds = tuple(features for _, features in feet.values())
    return Rows(data, name, folder, size, starts, False, part, values, kinds, tuple(files))


def rows_between(file: Path, columns: list[str], start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Rows ``start`` to ``stop`` of one file, without reading the row groups around them.

    Raises:
        SourceError: a damaged file.
    """
    import pyarrow.parquet

    with _reading(file), pyarrow.parquet.ParquetFile(file) as opened:
        sizes = [opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups)]
        ends = list(accumulate(sizes))
        groups = [i for i, end in enumerate(ends) if start < end and end - sizes[i] < stop]
        number = ends[groups[0]] - sizes[groups[0]] if groups else stop
        for batch in opened.iter_batches(64, row_groups=groups, columns=columns):
            if number >= stop:
                return
            first = max(start - number, 0)
            yield from batch.slice(first, max(stop - number - first, 0)).to_pylist()
            number += batch.num_rows


def _class_names(features: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind.names for name, kind in features.items() if hasattr(kind, "names")}


def _foot(file: Path) -> tuple[int, Features]:
    """The number of rows of a file and the types of its columns, which stand at its end."""
    import datasets
    import pyarrow.parquet

    with _reading(file), pyarrow.parquet.ParquetFile(file) as opened:
        rows, schema = opened.metadata.num_rows, opened.schema_arrow
    try:
        return rows, datasets.Features.from_arrow_schema(schema)
    except Exception as error:  # the file says its types in JSON, which can hold anything
        raise SourceError(
            f"cannot read {file}: the types that it gives in its Hugging Face metadata make no "
            f"sense ({shorten(str(error))}); write it again without them."
        ) from error


@contextmanager
def _reading(file: str | Path) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (OSError, pyarrow.ArrowException) as error:
        raise SourceError(
            f"cannot read {file}: it is truncated or not a parquet file "
            f"({shorten(str(error).strip() or type(error).__name__)}); fetch it again."
        ) from error


def _load(files: list[str], streaming: bool) -> Any:
    import datasets
    import pyarrow.parquet

    # The bars of a copy that takes a fraction of a second would land in stored notebook outputs.
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(
            "parquet",
            data_files=[glob.escape(file) for file in files],
            split="train",
            streaming=streaming,
            cache_dir=str(paths.cache_dir("datasets")),
        )
    except Exception as error:  # the library raises many kinds, and does not say which file it was
        for file in files:
            with _reading(file), pyarrow.parquet.ParquetFile(file) as opened:
                for _ in opened.iter_batches():
                    pass
        raise SourceError(f"cannot read {', '.join(files[:3])}: {shorten(str(error))}") from error
    finally:
        if bars:
            datasets.enable_progress_bars()
