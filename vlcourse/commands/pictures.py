"""The pictures that a user names: files, or folders of them. What cannot be read is skipped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from torch import Tensor

from vlcourse.commands import UsageError
from vlcourse.data.collate.pictures import resize
from vlcourse.data.sources.decode import BadSampleError, decode
from vlcourse.data.sources.folder import files_below
from vlcourse.data.sources.skipped import Skipped
from vlcourse.data.sources.tables import PICTURES


def files(words: Sequence[str]) -> list[Path]:
    """The picture files that are named, and those of each folder in order, subfolders included.

    Raises:
        UsageError: for what is neither, or a folder without pictures.
    """
    found: list[Path] = []
    for word in words:
        path = Path(os.path.expanduser(word))
        if path.is_dir():
            inside = [file for file in files_below(path) if file.suffix.lower() in PICTURES]
            if not inside:
                kinds = ", ".join(PICTURES)
                raise UsageError(f"{path} holds no pictures; they are known by their ends: {kinds}")
            found += [path / file for file in inside]
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"{word}: no such picture or folder of pictures")
    return list(dict.fromkeys(found))


def read(paths: Iterable[Path], size: int, squeezed: bool = False) -> Iterator[tuple[Path, Tensor]]:
    """(file, uint8 (3, size, size)) of each picture that can be read.

    It is the picture's central square; or all of it, ``squeezed`` into one. Afterwards a sentence
    on stderr says what was skipped, if anything was.

    Raises:
        UsageError: when none could be read.
    """
    skipped, good = Skipped("pictures", most=1.0), 0
    for path in paths:
        skipped.tried()
        try:
            image = decode(str(path), Path())
        except BadSampleError as bad:
            skipped.add(str(path), bad)
            continue
        good += 1
        yield path, squeeze(image, size) if squeezed else resize(image, size)
    if not good:
        raise UsageError(skipped.report())
    if len(skipped):
        print(f"vlcourse: {skipped.report()}", file=sys.stderr)


def squeeze(image: Tensor, size: int) -> Tensor:
    """(3, H, W) → (3, size, size) uint8, bicubic, whatever the shape was (salesforce/BLIP)."""
    from torchvision.transforms.v2 import functional as TF  # slow to import

    bicubic = TF.InterpolationMode.BICUBIC
    return TF.resize(image, [size, size], interpolation=bicubic, antialias=True)


def batches(
    paths: Iterable[Path], size: int, at_once: int, squeezed: bool = False
) -> Iterator[list[tuple[Path, Tensor]]]:
    """What :func:`read` gives, ``at_once`` pictures at a time."""
    readable = read(paths, size, squeezed)
    while chunk := list(islice(readable, at_once)):
        yield chunk
