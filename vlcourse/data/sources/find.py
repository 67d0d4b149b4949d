"""From the name of a source to its raw rows: a file, a folder, a glob, or a hub id.

Nothing here touches the network unless the source is a hub id ("owner/name"). A name that looks
like a path is looked for on disk only, so that a typing error never becomes a web request.
"""

from __future__ import annotations

import glob
import os
import re
from itertools import chain
from pathlib import Path

from vlcourse.data.sources.decode import SourceError, shorten
from vlcourse.data.sources.folder import data_files, files_below, picture_rows
from vlcourse.data.sources.hub import hub_rows
from vlcourse.data.sources.parquet import parquet_rows
from vlcourse.data.sources.rows import Rows, chosen_split
from vlcourse.data.sources.splits import SPLITS, split_of
from vlcourse.data.sources.tables import (
    PICTURES,
    SUFFIXES,
    by_column,
    is_table,
    read_table,
    table_rows,
)
from vlcourse.names import suggestion

DATA_SUFFIXES = {*PICTURES, *SUFFIXES, ".parquet", ".arrow", ".tar", ".zip"}


def find_rows(
    source: str | Path,
    split: str | None,
    streaming: bool,
    captions: str | None,
    revision: str | None,
) -> Rows:
    """Open ``source`` (see ``images.open_source``) without reading pictures.

    Raises:
        SourceError: no such source or split, an unreadable file, or the hub cannot be reached.
    """
    if not isinstance(source, str | os.PathLike):
        raise SourceError(f"a source is a path or a hub id, not a {type(source).__name__}.")
    text = os.fspath(source)
    path = local_path(text)
    if os.path.isfile(path):
        return _files({split_of(Path(path.name)): [path]}, split, path.stem, path.parent, streaming)
    if os.path.isdir(path):
        return _folder(path, split, streaming, captions)
    if any(sign in text for sign in "*?["):
        if not (files := matching(path)):
            raise SourceError(f"no file matches {shorten(text)}.")
        above = Path(os.path.commonpath([file.parent for file in files]))
        groups: dict[str, list[Path]] = {}
        for file in files:
            groups.setdefault(split_of(file.relative_to(above)), []).append(file)
        name = path.parent.name or "files"
        return _files(groups, split, name, files[0].parent, streaming)
    forced = text.startswith("hf://")
    hub_id = text.removeprefix("hf://").removeprefix("datasets/")
    if forced or not (isinstance(source, Path) or _is_path(text)):
        if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}", hub_id):
            return hub_rows(hub_id, split, streaming, revision)
        raise SourceError(
            f"'{shorten(text)}' is no file or folder here, and a hub id has the form 'owner/name'."
            f"{suggestion(path.name, _names_in(Path()))}"
        )
    hint = suggestion(path.name, _names_in(path.parent))
    raise SourceError(
        f"there is no file or folder {shorten(text)} (looked in {shorten(str(path.parent))}).{hint}"
    )


def local_path(text: str) -> Path:
    """The path that a text names, with ``~`` for the home folder where there is one."""
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):  # no such user, or none that can be
        return Path(text)


def matching(pattern: Path) -> list[Path]:
    """The files that a glob finds; the brackets of a folder that exists are no glob."""
    parts, known = list(pattern.parts), Path()
    while parts and os.path.exists(known / parts[0]):
        known /= parts.pop(0)
    try:
        full = os.path.join(glob.escape(str(known)), *parts)
        found = (Path(name) for name in sorted(glob.glob(full, recursive=True)))
        return [file for file in found if os.path.isfile(file)]
    except (OSError, ValueError, re.error, RecursionError):
        return []  # a name that no file can have


def _names_in(folder: Path) -> list[str]:
    """The names in a folder, as far as there is one."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except (OSError, ValueError):
        return []


def _is_path(text: str) -> bool:
    """A name that can only be meant as a path: a prefix, an extension, or a folder that exists."""
    first, *rest = text.split("/")
    return (
        first in {"", ".", "..", "~"}
        or "\\" in text
        or len(rest) > 1
        or Path(text).suffix.lower() in DATA_SUFFIXES
        or (bool(rest) and os.path.isdir(first))
    )


def _folder(path: Path, split: str | None, streaming: bool, captions: str | None) -> Rows:
    if split is not None and split.lower() not in SPLITS and os.path.isdir(path / split):
        path, split = path / split, None  # a folder by any name
    name = path.absolute().name
    try:
        files = files_below(path)
        if groups := data_files(path, files, captions):
            return _files(groups, split, name, path, streaming)
        return table_rows(picture_rows(path, files), split, name, path, str(path))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}.") from error


def _files(
    groups: dict[str, list[Path]], split: str | None, name: str, folder: Path, streaming: bool
) -> Rows:
    """The rows of parquet files or tables, which come by split."""
    files = list(chain(*groups.values()))
    where = str(files[0] if len(files) == 1 else folder)
    if {file.suffix.lower() for file in files} == {".parquet"}:
        return parquet_rows(groups, split, name, folder, where, streaming)
    if not all(is_table(file) for file in files):
        raise SourceError(
            f"{where} is not a .parquet, .jsonl, .json or .csv file, nor a folder of them; "
            "unpack an archive (.tar, .zip) first."
        )
    tables = {
        key: [row for file in some for row in read_table(file)] for key, some in groups.items()
    }
    if len(tables) == 1:
        tables = by_column(tables)
    chosen = chosen_split(tables, split, where)[0]
    named = groups.get(chosen, files)  # the pictures are named as seen from their table
    base = Path(os.path.commonpath([file.parent for file in named]))
    return table_rows(tables, split, name, base, where)
