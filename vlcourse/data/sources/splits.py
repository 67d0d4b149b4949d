"""Which files are for training and which for the test, and what to do where nobody said it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vlcourse.data.sources.decode import SourceError, shorten
from vlcourse.names import suggestion

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= {"validation": "validation", "valid": "validation", "val": "validation"}
SPLITS |= {"dev": "validation"}
HELD_OUT_PICTURES = 10  # of pictures without a test split, one in so many is kept for it


def split_of(file: Path) -> str:
    """The split that a file's name or a folder's says, the nearest first; else "train".

    ``train-00000-of-00002.parquet``, ``captions_val2014.json`` and ``test/cat/1.png`` say theirs.
    """
    *folders, name = (part.lower() for part in file.parts)
    words = (re.sub(r"\d+$", "", word) for word in (*re.split(r"[-_.]", name), *reversed(folders)))
    return next((SPLITS[word] for word in words if word in SPLITS), "train")


def choose_split(found: Iterable[str], split: str, where: str) -> tuple[str, bool]:
    """Which of a source's splits to read, and whether it must be shared out.

    "test" means the validation split where there is no test split, and the reverse. A source
    that has only rows for training is shared out: a part of them is held out for the test.

    Raises:
        SourceError: there is no such split.
    """
    names, wanted = list(found), SPLITS.get(split.lower())
    if names == ["train"] and wanted:
        return "train", True
    tests = {"test": ["test", "validation"], "validation": ["validation", "test"]}
    for name in tests.get(wanted or "", [wanted]):
        if name in names:
            return str(name), False
    raise SourceError(
        f"{where} has no split '{shorten(split)}', only {', '.join(names)}."
        f"{'' if wanted else suggestion(split, names)}"
    )


def shared_out(pictures: Iterable[str], split: str) -> list[int]:
    """The rows of a split, where all are in one table: every tenth picture is for the test.

    Pictures are counted as they first appear, so that all captions of one are on the same side.

    Args:
        pictures: which picture each row is about.
        split: "train", or any other for those that are held out.
    """
    numbers: dict[str, int] = {}
    order = (numbers.setdefault(picture, len(numbers)) for picture in pictures)
    last = HELD_OUT_PICTURES - 1
    return [
        row
        for row, number in enumerate(order)
        if (number % HELD_OUT_PICTURES == last) == (SPLITS.get(split.lower()) != "train")
    ]
