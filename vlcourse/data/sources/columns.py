"""Which columns of a source hold image, caption, label and id, and how a row becomes a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlcourse.data.sources.decode import BadSampleError, SourceError, decode
from vlcourse.data.sources.rows import FILE_COLUMNS, Rows
from vlcourse.names import suggestion

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", *FILE_COLUMNS)
CAPTION_COLUMNS = ("caption", "captions", "text", "txt", "sentence", "sentences", "description")
LABEL_COLUMNS = ("label", "labels", "class", "category", "fine_label", "target", "cls")
ID_COLUMNS = ("id", "image_id", "sample_id", "key", "__key__")


@dataclass(frozen=True)
class Columns:
    """Where in a row the parts of a sample are, and how a row becomes a sample."""

    image: str
    caption: str | None
    label: str | None
    id: str | None
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    name: str
    folder: Path | None

    def sample(self, row: dict[str, Any], number: int, shard: int | None = None) -> dict[str, Any]:
        """The sample of row ``number``. Raises BadSampleError."""
        sample = {"id": self.key(row, number, shard), "image": None, **self.text(row, number)}
        sample["image"] = decode(row[self.image], self.folder)
        return sample

    def key(self, row: dict[str, Any], number: int, shard: int | None = None) -> str:
        if self.id is not None and row[self.id] is not None:
            return str(row[self.id])
        return f"{self.name}-{'' if shard is None else f'{shard:05d}-'}{number:06d}"

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
            raise BadSampleError("empty caption")
        found["caption"] = value.strip()
        return found

    def _label(self, value: Any) -> int:
        if isinstance(value, str) and value in self.classes:
            return self.classes.index(value)
        if isinstance(value, str) and value.isdecimal():  # a CSV file knows no numbers
            value = int(value)
        if not isinstance(value, int) or not 0 <= value < max(len(self.classes), 1):
            raise BadSampleError("bad label", f"{value!r} of {len(self.classes)} classes")
        return value


def find_columns(
    rows: Rows,
    image: str | None,
    caption: str | None,
    label: str | None,
    templates: tuple[str, ...],
    classes: Sequence[str] | None,
    streaming: bool,
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

    def pick(what: str, asked: str | None, usual: Sequence[str], kind: type | None) -> str | None:
        if asked is not None:
            if asked not in names:
                raise SourceError(
                    f"{rows.name} has no {what} column '{asked}'; its columns are: "
                    f"{', '.join(names)}.{suggestion(asked, names)}"
                )
            return asked
        typed = [name for name in names if kind and isinstance(features.get(name), kind)]
        lower = {name.lower(): name for name in reversed(names)}
        return next(iter(typed), None) or next((lower[n] for n in usual if n in lower), None)

    picture = pick("image", image, IMAGE_COLUMNS, datasets.Image)
    text = pick("caption", caption, CAPTION_COLUMNS, None)
    target = pick("label", label, LABEL_COLUMNS, datasets.ClassLabel)
    key = pick("id", None, ID_COLUMNS, None)
    if label is not None and caption is None:
        text = None
    listed = ", ".join(names)
    if picture is None:
        raise SourceError(f"{rows.name} has no image column that I know; name one of: {listed}.")
    found: tuple[str, ...] = tuple(classes or ())
    if target is not None and not found:
        kind = features.get(target)
        if isinstance(kind, datasets.ClassLabel):
            found = tuple(kind.names)
        elif not streaming and getattr(kind, "dtype", None) in {"string", "large_string"}:
            found = tuple(sorted(name for name in data.unique(target) if name))
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
    used = dict.fromkeys(name for name in (picture, text, target, key) if name is not None)
    data = data.select_columns(list(used))
    if isinstance(features.get(picture), datasets.Image):
        data = data.cast_column(picture, datasets.Image(decode=False))  # decoded here, one by one
    columns = Columns(
        picture, text, target, key, found if target else (), templates, rows.name, rows.folder
    )
    return replace(rows, data=data), columns
