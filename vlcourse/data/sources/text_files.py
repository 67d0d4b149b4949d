"""Texts from files or the hub, one after another: what a source holds, before any tokenizer."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from vlcourse.data.sources.columns import FILE_COLUMNS, ID_COLUMNS, PICTURE_COLUMNS
from vlcourse.data.sources.decode import BadSampleError, SourceError, shorten
from vlcourse.data.sources.find import find_rows, local_path, matching
from vlcourse.data.sources.folder import files_below
from vlcourse.data.sources.json_rows import (
    BOM,
    json_document,
    json_lines,
    opened,
    readable,
)
from vlcourse.data.sources.rows import Rows, each_row
from vlcourse.data.sources.splits import choose_split, split_of
from vlcourse.names import suggestion

TABLES = (".jsonl", ".json", ".parquet")
PLAIN = (".txt", ".md", ".rst", ".tex", ".py")
SECTION = 16_384  # characters: a longer plain text is read in sections, so that it can be shuffled
HEAD = 100  # rows from which a file's column of text is found
NO_TEXT = {
    *FILE_COLUMNS,
    *ID_COLUMNS,
    *PICTURE_COLUMNS,
    "url",
}  # columns of strings that nobody wants to read


class Text(NamedTuple):
    """A document, or a section of a long one."""

    key: str
    """Where it is: "file:row", rows from 1; of a .jsonl file the line, of a plain text the section.
    """
    text: str | BadSampleError
    """The text, or why there is none."""
    begins: bool = True
    """It is the beginning of its document."""
    ends: bool = True
    """It is the end of its document."""


@dataclass(frozen=True)
class TextFile:
    """One file of documents."""

    path: Path
    key: str

    @property
    def empty(self) -> bool:
        """It has no bytes at all."""
        return not self.path.stat().st_size

    def __iter__(self) -> Iterator[Text]:
        """Its texts in their order.

        Raises:
            SourceError: the file is damaged, or has no column of text.
        """
        kind = _kind(self.path)
        with readable(self.path, kind):
            if kind in PLAIN:
                yield from _sections(self.path, self.key)
            elif kind == ".parquet":
                yield from _parquet(self.path, self.key)
            else:
                yield from _rows_to_texts(_json_rows(self.path), self.key, str(self.path))


@dataclass(frozen=True)
class HubRows:
    """A streamed data set of the hub."""

    rows: Rows
    empty = False

    def __iter__(self) -> Iterator[Text]:
        name = self.rows.name
        yield from _rows_to_texts(enumerate(each_row(self.rows.data, name), 1), name, name)


@dataclass(frozen=True)
class TextSource:
    """The files of one split. ``mixed`` says that they hold the other split's documents too."""

    name: str
    files: tuple[TextFile | HubRows, ...]
    mixed: bool


def find_texts(source: str | Path, split: str) -> TextSource:
    """What to read for a split.

    Files are told apart by the words "test" and "validation" in their names or folders; the others
    are for training. "test" means the validation files where there are no test files, and the
    reverse. If there is only one kind of files, the source has no splits, and is ``mixed``.

    Args:
        source: as in :class:`vlcourse.data.sources.documents.Documents`.
        split: "train", "test" or "validation".

    Raises:
        SourceError: no such source or split, a form that cannot be read, or no network.
    """
    if split not in ("train", "test", "validation"):
        raise SourceError(
            f"there is no split '{shorten(split)}' of texts; the splits are train, test and "
            "validation."
        )
    path = local_path(str(source))
    if os.path.isfile(path):
        files = [path]
    elif os.path.isdir(path):
        files = [path / file for file in files_below(path) if _belongs(path / file)]
        if not files:
            raise SourceError(f"{path} holds no {', '.join((PLAIN[0], *TABLES))} file (or .gz).")
    elif any(sign in str(source) for sign in "*?["):
        if not (files := matching(path)):
            raise SourceError(f"no file matches {shorten(str(source))}.")
    elif Path(path.stem if path.suffix == ".gz" else path).suffix in (*PLAIN, *TABLES):
        there = os.listdir(path.parent) if os.path.isdir(path.parent) else []
        raise SourceError(f"there is no file {shorten(str(source))}.{suggestion(path.name, there)}")
    else:
        return _hub(str(source), split)
    folder = (
        path if os.path.isdir(path) else Path(os.path.commonpath([file.parent for file in files]))
    )
    groups: dict[str, list[TextFile]] = {}
    for file in files:
        _kind(file)
        inside = file.relative_to(folder)
        groups.setdefault(split_of(inside), []).append(TextFile(file, inside.as_posix()))
    chosen, mixed = choose_split(groups, split, str(source))
    return TextSource(
        path.name if os.path.exists(path) else str(source), tuple(groups[chosen]), mixed
    )


def _hub(source: str, split: str) -> TextSource:
    """A data set of the hub; a plain name or a path that is not there is refused unasked."""
    rows = find_rows(source, split, True, None, None)
    return TextSource(rows.name, (HubRows(rows),), rows.part is not None)


def _kind(file: Path) -> str:
    """The kind of a file, ".gz" apart. Raises SourceError for one that cannot be read."""
    suffix = Path(file.stem if file.suffix == ".gz" else file).suffix.lower()
    if suffix not in (*PLAIN, *TABLES) or (suffix, file.suffix) == (".parquet", ".gz"):
        raise SourceError(
            f"{file} is not a file of texts: I read {', '.join((*PLAIN, *TABLES))} (and .gz)."
        )
    return suffix


def _belongs(file: Path) -> bool:
    """Whether a folder's file is part of a source; a README or a script beside the data is not."""
    name = file.name.removesuffix(".gz").lower()
    return name.endswith((PLAIN[0], *TABLES)) and file.is_file()


def _blocks(path: Path) -> Iterator[str | BadSampleError]:
    """A plain text, cut at the ends of lines."""
    with opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as file:
        try:
            while block := file.read(SECTION):
                yield block + (file.readline(SECTION) if len(block) == SECTION else "")
        except UnicodeDecodeError as error:
            yield BadSampleError("not UTF-8 text", str(error))


def _sections(path: Path, key: str) -> Iterator[Text]:
    number, held = 1, None
    for block in _blocks(path):
        if held is not None:
            yield Text(f"{key}:{number}", held, number == 1, False)
            number += 1
        held = block
    if held is not None:
        yield Text(f"{key}:{number}", _checked(held) if number == 1 else held, number == 1)


def _parquet(path: Path, key: str) -> Iterator[Text]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        types = {field.name: str(field.type) for field in file.schema_arrow}
        strings = {name: kind in ("string", "large_string") for name, kind in types.items()}
        column = _text_column(strings, str(path))
        number = 0
        for batch in file.iter_batches(batch_size=256, columns=[column]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield Text(f"{key}:{number}", _checked(value))


def _json_rows(path: Path) -> Iterable[tuple[int, Any]]:
    """The rows of a file of JSON lines or of one JSON list; a line that is none is an error."""
    if path.name.removesuffix(".gz").endswith(".json"):
        with opened(path) as file:
            start = file.read(64).removeprefix(BOM).lstrip()[:1]
        if start == b"[":
            return enumerate(json_document(path), 1)
    return json_lines(path)


def _rows_to_texts(rows: Iterable[tuple[int, Any]], key: str, where: str) -> Iterator[Text]:
    """Rows are dicts with a column of text, or strings."""
    rows = iter(rows)
    head = list(islice(rows, HEAD))
    strings: dict[str, bool] = {}
    for _, row in head:
        for name, value in row.items() if isinstance(row, dict) else ():
            strings[name] = strings.get(name, False) or isinstance(value, str)
    column = _text_column(strings, where) if strings else "text"
    for number, row in chain(head, rows):
        value = row.get(column) if isinstance(row, dict) else row
        yield Text(f"{key}:{number}", _checked(value))


def _text_column(strings: dict[str, bool], where: str) -> str:
    """The column "text", or the only one of strings that can be texts."""
    if "text" in strings:
        return "text"
    texts = [name for name, yes in strings.items() if yes and name.lower() not in NO_TEXT]
    if len(texts) != 1:
        listed = [shorten(", ".join(names), 400) for names in (texts, strings)]
        several = f"several of strings ({listed[0]})" if texts else "no other one of strings"
        raise SourceError(
            f"{where} has no column 'text' and {several}; its columns are: {listed[1]}. "
            "Call the column to be read 'text'."
        )
    return texts[0]


def _checked(value: Any) -> str | BadSampleError:
    """A text that a tokenizer can read, or why it is none."""
    if isinstance(value, BadSampleError):
        return value
    if value is None or (isinstance(value, str) and not value.strip()):
        return BadSampleError("empty text")
    if not isinstance(value, str):
        return BadSampleError("not a string", type(value).__name__)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can write
        return BadSampleError("not UTF-8 text", str(error))
    return value
