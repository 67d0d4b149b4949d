"""Writing files: under a temporary name (``.tmp-…``) beside the place, then renamed.

A reader sees the old file or the new one, also when the writer is killed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlcourse import VlcourseError


class WriteError(VlcourseError, OSError):
    """A file that cannot be written: the disk is full, most often."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes a file: an error names it, in one sentence (:class:`WriteError`)."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"{path} cannot be written ({reason}): make room there") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one go."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 in one go; its folder is made if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with writing(path):
            temporary.write_text(text, encoding="utf-8")
            flush(temporary)
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush(path: Path) -> None:
    """Force a file to the disk, so that a rename never outlives its content."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
