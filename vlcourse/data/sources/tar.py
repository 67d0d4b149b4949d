"""Shards of pictures in tar files, as img2dataset writes LAION: x.jpg beside x.txt and x.json.

Files of one name up to its first dot are one row (the layout of the webdataset library). A shard
is not unpacked: where each file lies in it is noted once, and read when it is wanted.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlcourse.data.sources.decode import SourceError, shorten
from vlcourse.data.sources.tables import PICTURES

CAPTION_KEYS = ("caption", "text")
MOST_TEXT = 1 << 20  # bytes of a caption or of its JSON


@dataclass(frozen=True)
class TarShard:
    """One tar file: rows in the order in which they lie there."""

    file: Path
    members: tuple[tuple[str, dict[str, tuple[int, int]]], ...]
    """(key, {".jpg": (where it begins, bytes), …}) of each row."""

    def __len__(self) -> int:
        return len(self.members)

    def read(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Rows ``start`` to ``stop``: __key__, image (bytes), caption, and the fields of JSON."""
        with self.file.open("rb") as opened:
            for key, parts in self.members[start:stop]:
                found = {}
                for suffix, (place, size) in parts.items():
                    opened.seek(place)
                    most = size if suffix in PICTURES else min(size, MOST_TEXT)
                    found[suffix] = opened.read(most)
                yield _row(key, found)


def open_tar(file: Path) -> TarShard:
    """The index of a tar file.

    Raises:
        SourceError: it is damaged, packed (.tar.gz), or holds no pictures.
    """
    rows: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                suffix = f".{suffix.lower()}"
                if member.isfile() and stem and suffix in (*PICTURES, ".txt", ".json"):
                    row = rows.setdefault(f"{folder}/{stem}".lstrip("./"), {})
                    row[suffix] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(
            f"cannot read {file}: it is damaged, compressed or no tar file "
            f"({shorten(str(error) or type(error).__name__)}); fetch it again, or unpack it."
        ) from error
    found = tuple((key, parts) for key, parts in rows.items() if set(parts) & set(PICTURES))
    if not found:
        raise SourceError(f"{file} holds no pictures: a shard has x.jpg with x.txt or x.json.")
    return TarShard(file, found)


def _row(key: str, found: dict[str, bytes]) -> dict[str, Any]:
    said: Any = None
    try:
        said = json.loads(found.get(".json", b"null"))
    except (ValueError, RecursionError):  # a broken note is no note; the text may stand alone
        pass
    row = dict(said) if isinstance(said, dict) else {}
    named = next((row[name] for name in CAPTION_KEYS if row.get(name)), None)
    text = found[".txt"].decode("utf-8-sig", "replace") if ".txt" in found else named
    picture = next(data for suffix, data in found.items() if suffix in PICTURES)
    return {**row, "__key__": key, "image": picture, "caption": text}
