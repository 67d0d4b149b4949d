"""Rows from files of JSON, plain or gzipped, however damaged; no line and no list without bound."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlcourse.data.sources.decode import BadSampleError, SourceError, shorten

MOST_LINE = 1 << 26  # bytes of a line; a text that is longer belongs into a file of its own
MOST_DOCUMENT = 1 << 30  # bytes of a JSON file that is one value and has to be read whole
BOM = b"\xef\xbb\xbf"


def opened(path: Path) -> Any:
    """The bytes of a file, unpacked if it is called .gz."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """What goes wrong while a file is read, as one SourceError that names it."""
    import pyarrow

    try:
        yield
    except (OSError, EOFError, zlib.error, pyarrow.ArrowException, MemoryError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise SourceError(f"cannot read {path}: {error.strerror}.") from error
        first = shorten(str(error).strip().partition("\n")[0] or type(error).__name__)
        raise SourceError(
            f"cannot read {path}: it is damaged or no {kind} file ({first}); fetch it again."
        ) from error


def parsed(text: bytes, where: str) -> Any:
    """A JSON value. Raises SourceError, for one that is nested too deeply as well."""
    try:
        return json.loads(text.removeprefix(BOM))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} is not valid JSON: {shorten(str(error))}.") from error


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of a file of JSON lines; a line that is none is a BadSampleError.

    Raises:
        SourceError: a line is too long.
    """
    with opened(path) as file:
        number = 0
        while line := file.readline(MOST_LINE + 1):
            number += 1
            if len(line) > MOST_LINE:
                raise SourceError(
                    f"{path}, line {number} is longer than {MOST_LINE:,} bytes: JSON lines have "
                    "one row a line."
                )
            if not (line := line.removeprefix(BOM).strip()):
                continue
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, BadSampleError("broken JSON line", shorten(str(error)))


def json_document(path: Path) -> Any:
    """The one value of a JSON file.

    Raises:
        SourceError: it is not valid, or too long.
    """
    with opened(path) as file:
        text = file.read(MOST_DOCUMENT + 1)
    if len(text) > MOST_DOCUMENT:
        raise SourceError(
            f"{path} is one JSON value of more than {MOST_DOCUMENT:,} bytes: write it as .jsonl, "
            "one row a line."
        )
    return parsed(text, str(path))


def is_lines(path: Path) -> bool:
    """Whether a file called .json holds JSON lines: more follows a line that is a JSON object."""
    with opened(path) as file:
        line = file.readline(MOST_LINE).removeprefix(BOM).strip()
        try:
            return line.startswith(b"{") and bool(json.loads(line) and file.read(1 << 16).strip())
        except (ValueError, RecursionError):
            return False
