"""What a folder of pictures holds: parquet shards, tables of captions, or the pictures alone."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.splits import SPLITS, split_of
from vlcourse.data.sources.tables import PICTURES, Row, is_table
from vlcourse.names import suggestion

TABLE_WORDS = {"metadata", "captions", "caption", "annotations", "data", "dataset", "pairs"}
TABLE_WORDS |= {"labels", "instruct", "llava"}


def files_below(folder: Path) -> list[Path]:
    """Every file of a folder relative to it, sorted, hidden ones left out; links are followed."""
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link to a folder above, or twice to one
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(place).relative_to(folder)
        found += [inside / name for name in names if not name.startswith(".")]
    return sorted(found)


def data_files(folder: Path, files: list[Path], captions: str | None) -> dict[str, list[Path]]:
    """The parquet files or tables of a folder by split; {} where the pictures speak for themselves.

    Args:
        folder: where they are.
        files: as :func:`files_below` gives them.
        captions: the name of the table, where the user says it.

    Raises:
        SourceError: no such table, or several that one has to choose from.
    """
    chosen = [file for file in files if file.suffix.lower() == ".parquet"]
    if captions is not None:
        chosen = [file for file in files if captions in (file.name, file.as_posix())]
        if not chosen:
            near = suggestion(captions, [file.name for file in files if is_table(file)])
            raise SourceError(f"{folder} has no file {captions}.{near}")
    elif not chosen:
        tables = [file for file in files if is_table(file)]
        ranked = [tables_called(name, tables) for name in ("metadata", "caption", "")]
        chosen = next((found for found in ranked if found), [])
        if not chosen and not pictures_speak(files):
            chosen = tables
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in chosen:
        groups[split_of(file)].append(file)
    for found in groups.values():
        if other := [file for file in found if not os.path.isfile(folder / file)]:
            raise SourceError(f"{folder / other[0]} is a broken link, or no file.")
        kinds = {(re.sub(r"\d+", "", file.stem), file.suffix) for file in found}
        if found[0].suffix.lower() != ".parquet" and len(kinds) > 1:
            names = ", ".join(file.as_posix() for file in found[:5])
            raise SourceError(f"{folder} holds several tables ({names}): name one with captions=.")
    return {split: [folder / file for file in found] for split, found in groups.items()}


def tables_called(name: str, tables: list[Path]) -> list[Path]:
    """Tables whose name begins so; with "" those called by nothing but usual words and numbers."""
    if name:
        return [file for file in tables if file.name.lower().startswith(name)]
    return [
        file
        for file in tables
        if not set(re.findall("[a-z]+", file.stem.lower())) - TABLE_WORDS - {*SPLITS, "of"}
    ]


def pictures_speak(files: list[Path]) -> bool:
    """Whether pictures have texts of the same name beside them, or lie in folders of classes."""
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    texts = {file.with_suffix("") for file in files if file.suffix == ".txt"}
    classes = {class_of(file)[1] for file in pictures}
    return any(file.with_suffix("") in texts for file in pictures) or len(classes - {""}) > 1


def class_of(file: Path) -> tuple[str, str]:
    """(split, class) of a picture by its folders: ``train/cat/1.png``; "" where it has none."""
    folders = [part for part in file.parts[:-1] if part.lower() not in SPLITS]
    split = split_of(Path(*file.parts[:-1], "_"))
    return split, folders[0] if folders else ""


def picture_rows(folder: Path, files: list[Path]) -> dict[str, list[Row]]:
    """Rows of pictures by split: with the text beside each as its caption, or its folder as label.

    Raises:
        SourceError: pictures without either, or no pictures at all.
    """
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    if not pictures or not pictures_speak(files):
        what = "pictures, but no captions" if pictures else "no pictures, tables or .parquet files"
        raise SourceError(
            f"{folder} holds {what}: I read .parquet files, a table (metadata.csv, captions.jsonl, "
            "COCO's or LLaVA's .json), x.txt beside x.png, or a folder for each class; name "
            "another table with captions=, and unpack archives (.tar, .zip)."
        )
    texts = {file.with_suffix("") for file in files if file.suffix == ".txt"}
    beside = any(file.with_suffix("") in texts for file in pictures)
    groups: dict[str, list[Row]] = defaultdict(list)
    for file in pictures:
        split, name = class_of(file)
        row: Row = {"file_name": file.as_posix()}
        if beside:
            row["caption"] = text_beside(folder / file)
        else:
            row["label"] = name
        groups[split].append(row)
    return groups


def text_beside(picture: Path) -> str | None:
    """The text of ``x.txt`` beside ``x.png``; None where there is none to be read."""
    text = picture.with_suffix(".txt")
    try:
        if not os.path.isfile(text):  # no pipe, which would be waited for
            return None
        with text.open("rb") as file:
            return file.read(1 << 20).decode("utf-8-sig", "strict")
    except (OSError, UnicodeDecodeError):
        return None
