"""Which columns of a source hold image, caption, label and id, and how a row becomes a sample."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from string import Formatter
from typing import Any

from vlcourse.data.sources.decode import BadSampleError, SourceError, decode, describe, shorten
from vlcourse.data.sources.rows import Rows, each_row
from vlcourse.data.sources.splits import HELD_OUT_PICTURES, shared_out
from vlcourse.names import suggestion

FILE_COLUMNS = (
    "file_name", "filename", "file", "image", "image_path", "filepath", "path",
    "image_name", "image_file", "img_path", "file_path",
)  # fmt: skip
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", *FILE_COLUMNS)
CAPTION_COLUMNS = (
    "caption", "captions", "text", "txt", "sentence", "sentences", "description", "title",
    "comment",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "category", "fine_label", "target", "cls")
ID_COLUMNS = ("id", "sample_id", "key", "__key__")
PICTURE_COLUMNS = ("image_id", "img_id", "imgid")
ROW_ID = "__row_id__"  # a column of our own, so that a row keeps its name when rows are left out


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Templates with one ``{}`` each, where the class name goes.

    Raises:
        SourceError: one that would give each class the same prompt, or none.
    """
    texts = (templates,) if isinstance(templates, str) else tuple(templates)
    for text in texts:
        try:
            fields = [part[1:] for part in Formatter().parse(text) if part[1] is not None]
        except (ValueError, TypeError):
            fields = []
        if fields != [("", "", None)]:
            raise SourceError(
                f"a template needs one '{{}}' where the class name goes, not {describe(text)}."
            )
    if not texts:
        raise SourceError("there must be a template, with '{}' where the class name goes.")
    return texts


def in_order(labels: Iterable[Any]) -> tuple[str, ...]:
    """Class names in the order that numbers them: numbers by their value, words by the alphabet."""
    names = {label for label in labels if isinstance(label, str) and label.strip()}
    if all(re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", name) for name in names):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))


@dataclass(frozen=True)
class Columns:
    """Where in a row the parts of a sample are, and how a row becomes a sample."""

    image: str
    caption: str | None
    label: str | None
    id: str | None
    picture: str | None
    classes: tuple[str, ...]
    stored: tuple[str, ...]
    """The names that this file gives its numbers, where ``classes`` are those of all files."""
    templates: tuple[str, ...]
    name: str
    folder: Path | None
    keep: tuple[str, ...] = ()

    def sample(self, row: dict[str, Any], number: int, shard: int | None = None) -> dict[str, Any]:
        """The sample of row ``number``. Raises BadSampleError."""
        sample = {"id": self.key(row, number, shard), "image": None, **self.text(row, number)}
        if self.caption is not None:
            sample["image_id"] = self.picture_of(row) or sample["id"]
        sample |= {name: row[name] for name in self.keep}
        sample["image"] = decode(row[self.image], self.folder)
        return sample

    def key(self, row: dict[str, Any], number: int, shard: int | None = None) -> str:
        if self.id is not None and row[self.id] is not None:
            return str(row[self.id])
        return f"{self.name}-{'' if shard is None else f'{shard:05d}-'}{number:06d}"

    def picture_of(self, row: dict[str, Any]) -> str:
        """Which picture a row is about: its id, its path, or a hash of its bytes; "" for none."""
        if self.picture is not None and row[self.picture] is not None:
            return str(row[self.picture])
        value = row[self.image]
        if isinstance(value, dict):
            value = value.get("path") if value.get("bytes") is None else value["bytes"]
        if isinstance(value, bytes):
            return hashlib.blake2b(value, digest_size=8).hexdigest()
        return value if isinstance(value, str) else ""

    def text(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """Caption and label of a row. Raises BadSampleError."""
        found: dict[str, Any] = {}
        if self.label is not None:
            found["label"] = self._label(row[self.label])
        if self.caption is None:
            name = self.classes[found["label"]].replace("_", " ")
            found["caption"] = self.templates[number % len(self.templates)].format(name)
            return found
        value = row[self.caption]
        if isinstance(value, list | tuple):
            texts = [text.strip() for text in value if isinstance(text, str) and text.strip()]
            value = texts[number % len(texts)] if texts else None
            found["captions"] = texts
        if not isinstance(value, str) or not value.strip():
            said = value is not None and not isinstance(value, str)
            raise BadSampleError("empty caption", f"found {describe(value)}" if said else "")
        found["caption"] = value.strip()
        return found

    def _label(self, value: Any) -> int:
        if isinstance(value, str) and value in self.classes:
            return self.classes.index(value)
        if isinstance(value, str) and value.isdecimal():  # a CSV file knows no numbers
            value = int(value[:20])
        known = len(self.stored or self.classes) or 1
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < known:
            raise BadSampleError("bad label", f"{describe(value)} of {known} classes")
        return self.classes.index(self.stored[value]) if self.stored else value


def find_columns(
    rows: Rows,
    image: str | None,
    caption: str | None,
    label: str | None,
    templates: tuple[str, ...],
    classes: Sequence[str] | None,
    keep: Sequence[str] = (),
) -> tuple[Rows, Columns]:
    """Find the columns by name and type, and keep only these in the rows, undecoded.

    Raises:
        SourceError: no such column, or labels without names.
    """
    import datasets

    data = rows.data
    features = data.features or {}
    names = list(features) or [name for row in data.take(1) for name in row]
    if not names:
        raise SourceError(f"{rows.name} has no rows.")
    listed = shorten(", ".join(names), 400)

    def pick(what: str, asked: str | None, usual: Sequence[str], kind: type | None) -> str | None:
        if asked is not None:
            if asked not in names:
                raise SourceError(
                    f"{rows.name} has no {what} column '{shorten(asked)}'; its columns are: "
                    f"{listed}.{suggestion(asked, names)}"
                )
            return asked
        typed = [name for name in names if kind and isinstance(features.get(name), kind)]
        lower = {name.lower(): name for name in reversed(names)}
        return next(iter(typed), None) or next((lower[n] for n in usual if n in lower), None)

    picture = pick("image", image, IMAGE_COLUMNS, datasets.Image)
    text = pick("caption", caption, CAPTION_COLUMNS, None)
    target = pick("label", label, LABEL_COLUMNS, datasets.ClassLabel)
    key = pick("id", None, ID_COLUMNS, None)
    same = pick("picture", None, PICTURE_COLUMNS, None)
    if label is not None and caption is None:
        text = None
    if picture is None:
        raise SourceError(f"{rows.name} has no image column that I know; name one of: {listed}.")
    _check_pictures(features.get(picture), picture, rows.name)
    found, stored = tuple(classes or ()), ()
    if target is not None and not found:
        kind = features.get(target)
        if isinstance(kind, datasets.ClassLabel):
            stored = tuple(kind.names)
            others = (other.get(target) for other in rows.features)
            union = [name for other in others for name in getattr(other, "names", ())]
            found = tuple(dict.fromkeys(union)) or stored
        elif rows.values and getattr(kind, "dtype", None) in {"string", "large_string"}:
            found = in_order(rows.values(target))
    if target is not None and not found:
        if text is None:
            raise SourceError(
                f"{rows.name}: the labels in column '{target}' have no names; "
                "give them with classes=."
            )
        target = None  # numbers that nobody can name are no labels; the captions stand alone
    if text is None and target is None:
        raise SourceError(
            f"{rows.name} has no caption or label column that I know; name one of: {listed}."
        )
    for name in keep:
        pick("further", name, (), None)
    used = [name for name in (picture, text, target, key, same, *keep) if name is not None]
    data = data.select_columns(list(dict.fromkeys(used)))
    if isinstance(features.get(picture), datasets.Image):
        data = data.cast_column(picture, datasets.Image(decode=False))  # decoded here, one by one
    columns = Columns(
        image=picture,
        caption=text,
        label=target,
        id=key,
        picture=same if same != picture else None,
        classes=found if target else (),
        stored=stored if stored != found else (),
        templates=templates,
        name=rows.name,
        folder=rows.folder and _picture_folder(rows.folder, data, picture),
        keep=tuple(keep),
    )
    return replace(rows, data=data), columns


def _check_pictures(kind: Any, column: str, name: str) -> None:
    """Refuse a column of a type that holds no pictures, saying what it is."""
    import datasets

    kinds = {"string", "large_string", "binary", "large_binary", "null"}
    struct = isinstance(kind, dict) and {"bytes", "path"} & set(kind)
    if not (
        kind is None
        or struct
        or isinstance(kind, datasets.Image)
        or getattr(kind, "dtype", None) in kinds
    ):
        raise SourceError(
            f"{name}: the column '{column}' holds {shorten(str(kind))}, and I read encoded "
            "pictures (bytes), their paths, or a struct of bytes and path."
        )


def _picture_folder(folder: Path, data: Any, column: str) -> Path:
    """Where the paths of a table start: its folder, or the one below or beside it that has them."""
    values = (row[column] for row in islice(data, 20))
    paths = [path for path in values if isinstance(path, str) and path]
    if not paths or any(os.path.isfile(folder / path) for path in paths):
        return folder
    for near in (folder, folder.parent):
        for below in sorted(entry.path for entry in os.scandir(near) if entry.is_dir()):
            if any(os.path.isfile(os.path.join(below, path)) for path in paths):
                return Path(below)
    return folder


def share_out(rows: Rows, columns: Columns) -> tuple[Rows, Columns]:
    """Name the rows of a table, and keep those of the split where the source has only one.

    Raises:
        SourceError: too few pictures to hold one out.
    """
    if rows.part is None and not (rows.table and columns.id is None):
        return rows, columns
    data = rows.data
    if columns.id is None:
        ids = [columns.key({}, number) for number in range(len(data))]
        if rows.table:
            ids = list(_names(columns, data))
        data = data.add_column(ROW_ID, ids)
        columns = replace(columns, id=ROW_ID)
    if rows.part is not None:
        pictures = (columns.picture_of(row) for row in each_row(data, rows.name))
        kept = shared_out((name or f"row {i}" for i, name in enumerate(pictures)), rows.part)
        if not kept:
            raise SourceError(
                f"{rows.name} is too small: of its pictures one in {HELD_OUT_PICTURES} is held out "
                f"for the test, and none is left for '{rows.part}'."
            )
        data = data.select(kept)
    return replace(rows, data=data), columns


def _names(columns: Columns, data: Any) -> Iterator[str]:
    """The file of each row, with the row's number where the file comes again."""
    seen: set[str] = set()
    for number, row in enumerate(each_row(data, columns.name)):
        name = row[columns.image]
        name = name if isinstance(name, str) and name else columns.key(row, number)
        yield f"{name}#{number}" if name in seen else name
        seen.add(name)
