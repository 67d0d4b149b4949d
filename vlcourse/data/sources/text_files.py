"""Texts from files or the hub, one after another: what a source holds, before any tokenizer."""

from __future__ import annotations

import glob
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from vlcourse.data.sources.columns import ID_COLUMNS
from vlcourse.data.sources.decode import BadSampleError, SourceError
from vlcourse.data.sources.rows import FILE_COLUMNS, SPLITS, Rows, find_rows
from vlcourse.names import suggestion

TABLES = (".jsonl", ".json", ".parquet")
PLAIN = (".txt", ".md", ".rst", ".tex", ".py")
SECTION = 16_384  # characters: a longer plain text is read in sections, so that it can be shuffled
HEAD = 100  # rows from which a file's column of text is found
NO_TEXT = {*FILE_COLUMNS, *ID_COLUMNS, "url"}  # columns of strings that nobody wants to read


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
        import pyarrow

        kind = _kind(self.path)
        try:
            if kind in PLAIN:
                yield from _sections(self.path, self.key)
            elif kind == ".parquet":
                yield from _parquet(self.path, self.key)
            else:
                yield from _rows_to_texts(_json_rows(self.path), self.key, str(self.path))
        except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
            if isinstance(error, OSError) and error.strerror:
                raise SourceError(f"cannot read {self.path}: {error.strerror}.") from error
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            raise SourceError(
                f"cannot read {self.path}: it is damaged or no {kind} file ({first}); "
                "fetch it again."
            ) from error


@dataclass(frozen=True)
class HubRows:
    """A streamed data set of the hub."""

    rows: Rows
    empty = False

    def __iter__(self) -> Iterator[Text]:
        yield from _rows_to_texts(enumerate(self._read(), 1), self.rows.name, self.rows.name)

    def _read(self) -> Iterator[dict[str, Any]]:
        # Batches, because the library's plain iterator divides its rows by the loader's workers.
        batches = self.rows.data.iter(batch_size=64)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:  # network and format errors of the library, of many kinds
                raise SourceError(f"{self.rows.name}: reading stopped: {error}") from error
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(batch, values, strict=True))


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
            f"there is no split '{split}' of texts; the splits are train, test and validation."
        )
    path = Path(source).expanduser()
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if _belongs(file, path)]
        if not files:
            raise SourceError(f"{path} holds no {', '.join((PLAIN[0], *TABLES))} file (or .gz).")
    elif any(sign in str(source) for sign in "*?["):
        found = (Path(name) for name in glob.glob(str(path), recursive=True))
        files = sorted(file for file in found if file.is_file())
        if not files:
            raise SourceError(f"no file matches {source}.")
    elif Path(path.stem if path.suffix == ".gz" else path).suffix in (*PLAIN, *TABLES):
        there = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SourceError(f"there is no file {source}.{suggestion(path.name, there)}")
    else:
        return _hub(str(source), split)
    folder = path if path.is_dir() else Path(os.path.commonpath([file.parent for file in files]))
    groups: dict[str, list[TextFile]] = {}
    for file in files:
        _kind(file)
        inside = file.relative_to(folder)
        groups.setdefault(_split_of(inside), []).append(TextFile(file, inside.as_posix()))
    chosen, mixed = _choose(groups, split, str(source))
    return TextSource(path.name if path.exists() else str(source), tuple(groups[chosen]), mixed)


def _choose(found: Iterable[str], split: str, where: str) -> tuple[str, bool]:
    """Which of a source's splits to read, and whether it must be shared out, being the only one."""
    names = list(found)
    if len(names) == 1:
        return names[0], True
    if not {"test", "validation"} & set(names):
        return "train", True
    evaluations = ["test", "validation"] if split == "test" else ["validation", "test"]
    wanted = ["train"] if split == "train" else evaluations
    if chosen := [name for name in wanted if name in names]:
        return chosen[0], False
    raise SourceError(f"{where} has no split '{split}', only {', '.join(names)}.")


def _hub(source: str, split: str) -> TextSource:
    """A data set of the hub; a plain name or a path that is not there is refused unasked."""
    rows = find_rows(source, "train", True, None, None)
    import datasets

    hub_id = source.removeprefix("hf://").removeprefix("datasets/")
    try:
        names = datasets.get_dataset_split_names(hub_id)
    except Exception as error:  # the library raises many kinds; each is one sentence to the reader
        raise SourceError(f"cannot list the splits of '{hub_id}': {error}") from error
    chosen, mixed = _choose(names, split, source)
    if chosen != "train":
        rows = find_rows(source, chosen, True, None, None)
    return TextSource(rows.name, (HubRows(rows),), mixed)


def _split_of(file: Path) -> str:
    """The split that a file's name or a folder's says, the nearest first; else "train"."""
    *folders, name = (part.lower() for part in file.parts)
    words = [*re.split(r"[-_.]", name), *reversed(folders)]
    return next((SPLITS[word] for word in words if word in SPLITS), "train")


def _kind(file: Path) -> str:
    """The kind of a file, ".gz" apart. Raises SourceError for one that cannot be read."""
    suffix = Path(file.stem if file.suffix == ".gz" else file).suffix.lower()
    if suffix not in (*PLAIN, *TABLES) or (suffix, file.suffix) == (".parquet", ".gz"):
        raise SourceError(
            f"{file} is not a file of texts: I read {', '.join((*PLAIN, *TABLES))} (and .gz)."
        )
    return suffix


def _belongs(file: Path, folder: Path) -> bool:
    """Whether a folder's file is part of a source; a README or a script beside the data is not."""
    name = file.name.removesuffix(".gz").lower()
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return name.endswith((PLAIN[0], *TABLES)) and file.is_file() and not hidden


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _blocks(path: Path) -> Iterator[str | BadSampleError]:
    """A plain text, cut at the ends of lines."""
    with _opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as file:
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


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a file of JSON lines or of one JSON list; a line that is none is an error."""
    with _opened(path) as file:
        if path.name.removesuffix(".gz").endswith(".json"):
            if file.peek(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
                try:
                    yield from enumerate(json.loads(file.read()), 1)
                except ValueError as error:
                    raise SourceError(f"{path} is not valid JSON: {error}.") from error
                return
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                row = BadSampleError("broken JSON line", str(error))
            yield number, row


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
        several = f"several of strings ({', '.join(texts)})" if texts else "no other one of strings"
        raise SourceError(
            f"{where} has no column 'text' and {several}; its columns are: {', '.join(strings)}. "
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
