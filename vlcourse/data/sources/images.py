"""Pictures with captions or labels, from the Hugging Face hub, parquet files, tables or folders.

``open_source`` turns each of them into the same sample dict::

    {"id": str, "image": uint8 (3, H, W), "caption": str,
     "label": int,                                   # labelled sources
     "image_id": str, "captions": list[str]}         # captioned sources; a list where one is stored

Samples of one picture have the same ``image_id`` (Flickr8k has five rows a picture): the column of
that name, or the picture's path, or a hash of its bytes.

What happens to a sample that cannot be used (no image, a broken file, an empty caption, a label out
of range): it never reaches the caller, it is counted by reason, and ``report()`` tells. Above
``max_bad`` of the samples (5 %) it is an error.

- Verified sources (``verify=True``; the default below 64 MB) decode every picture once while
  opening. Bad samples are left out, so ``len`` counts good samples only.
- Other map-style sources find bad samples on the way. Item i is then the next good sample after
  row i (wrapping round): ``len`` stays put and item i is a pure function of i, which exact resume
  needs.
- Streams leave bad samples out and report at their end.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vlcourse.data.sources.columns import Columns, check_templates, find_columns, share_out
from vlcourse.data.sources.decode import (
    ENOUGH,
    REASONS,
    BadSampleError,
    SourceError,
    shorten,
    skip_report,
)
from vlcourse.data.sources.find import find_rows
from vlcourse.data.sources.rows import Rows
from vlcourse.data.sources.stream import StreamSource

__all__ = ["MapSource", "SourceError", "StreamSource", "open_source"]

VERIFY_BYTES = 64_000_000  # decoding this much takes seconds
CACHE_BYTES = 256_000_000
GOOD = 1  # states of a row: 0 unread, 1 good, 2 + n bad for REASONS[n]


def open_source(
    source: str | Path,
    *,
    split: str | None = None,
    image: str | None = None,
    caption: str | None = None,
    label: str | None = None,
    template: str | Sequence[str] = "a photo of a {}.",
    classes: Sequence[str] | None = None,
    captions: str | None = None,
    keep: Sequence[str] = (),
    streaming: bool = False,
    limit: int | None = None,
    verify: bool | None = None,
    cache_images: bool | None = None,
    max_bad: float = 0.05,
    shuffle: int = 0,
    seed: int = 0,
    revision: str | None = None,
) -> MapSource | StreamSource:
    """Open a source of images with captions or labels.

    Args:
        source: a file, a folder with its sub-folders, or a glob:

            - parquet, in shards or not;
            - a table that names its pictures: .csv (or .tsv; Flickr8k's captions.txt), .jsonl, or
              .json: COCO's captions, Karpathy's splits, LLaVA's conversations (the first answer is
              the caption), {"file": caption};
            - pictures with x.txt beside x.png, or in a folder for each class.

            Or a hub id "owner/name", the only form that uses the network. Whatever exists on disk
            or looks like a path is never looked up; "hf://owner/name" forces the hub.
        split: "train", "test", "validation" (or as it is called); needed when the source holds more
            than one. Names of files and folders tell it, or a table's column "split". Where nothing
            does, every tenth picture, as they first appear, is held out of "train" and is both
            "test" and "validation"; None takes all.
        image, caption, label: column names; None finds them. A source with both captions and
            labels uses its captions, unless ``label`` is named and ``caption`` is not. Of a list of
            captions, row i uses number i modulo their count; sample["captions"] holds all.
        template: makes the caption of a labelled sample, "{}" being the class name. Of several, row
            i uses number i modulo their count.
        classes: names of the labels, when the file has none (or others).
        captions: name of the caption file inside an image folder, when it is another one.
        keep: further columns, whose values the samples have as they are, under these names.
        streaming: an iterable dataset that holds nothing in memory, instead of a map-style one.
        limit: read the first so many rows only.
        verify: decode everything while opening. None: only below 64 MB on disk.
        cache_images: hold the decoded pictures as one uint8 array (needs ``verify`` and pictures of
            one size). None: when they fit that and 256 MB.
        max_bad: the share of bad samples from which on it is an error.
        shuffle: streaming only: size of the shuffle buffer; 0 keeps the stored order.
        seed: of that shuffle; ``set_epoch`` gives another order each epoch.
        revision: of a hub dataset: a branch, tag or commit.

    Raises:
        SourceError: one sentence: no such source, column or split, an unreadable file, no network,
            or too many bad samples.
    """
    templates = check_templates(template)
    if (limit is not None and limit < 1) or shuffle < 0 or not 0 <= max_bad <= 1:
        raise SourceError("limit is at least 1, shuffle at least 0, and max_bad between 0 and 1.")
    if streaming and (verify or cache_images):
        raise SourceError("verify and cache_images need streaming=False.")
    if shuffle and not streaming:
        raise SourceError(
            "shuffle is for streaming=True; a map-style source is shuffled by its reader."
        )
    rows = find_rows(source, split, streaming, captions, revision)
    rows, columns = find_columns(rows, image, caption, label, templates, classes, keep)
    if streaming and rows.part is not None and not rows.table:
        raise SourceError(
            f"{rows.name} has only a split for training, and of a stream no part can be held out: "
            "read it whole, without split=, or without streaming=True."
        )
    rows, columns = share_out(rows, columns)
    if streaming:
        if rows.table:
            rows = replace(rows, data=rows.data.to_iterable_dataset())
        return StreamSource(rows, columns, limit, max_bad, shuffle, seed)
    if limit is not None:
        rows = replace(rows, data=rows.data.select(range(min(limit, len(rows.data)))))
    if verify is None:
        verify = bool(cache_images) or small(rows, columns)
    if cache_images and not verify:
        raise SourceError(
            "cache_images=True decodes everything while opening: it needs verify=True."
        )
    return MapSource(rows, columns, max_bad, verify, cache_images)


def small(rows: Rows, columns: Columns) -> bool:
    """Whether the pictures are below 64 MB on disk, as far as that is known."""
    if not rows.table or columns.folder is None:
        return rows.bytes is not None and rows.bytes <= VERIFY_BYTES
    total = 0
    for batch in rows.data.select_columns([columns.image]).iter(batch_size=256):
        for path in batch[columns.image]:
            if isinstance(path, str) and os.path.isfile(file := os.path.join(columns.folder, path)):
                total += os.path.getsize(file)
        if total > VERIFY_BYTES:
            return False
    return True


class MapSource(Dataset[dict[str, Any]]):
    """A map-style source. ``classes`` holds the class names, () when there are no labels."""

    def __init__(
        self, rows: Rows, columns: Columns, max_bad: float, verify: bool, cache: bool | None
    ) -> None:
        self.classes = columns.classes
        self._rows = rows.data
        self._columns = columns
        self._max_bad = max_bad
        count = len(self._rows)
        if not count:
            raise SourceError(f"{columns.name} has no rows.")
        # Shared memory: the workers of a DataLoader write to the account that the parent reads.
        self._state = torch.zeros(count, dtype=torch.uint8).share_memory_()
        self._warned = False
        self._flawed = False  # this process has met a bad sample
        self._index = torch.arange(count)
        self._images: torch.Tensor | None = None
        self._texts: list[dict[str, Any]] = []
        if verify:
            self._verify(cache)

    def _verify(self, cache: bool | None) -> None:
        images: list[torch.Tensor] | None = [] if cache is not False else None
        texts: list[dict[str, Any]] = []
        total = 0
        for start in range(0, len(self._state), 256):
            for number, row in self._fetch(range(start, min(start + 256, len(self._state)))):
                sample = self._try(number, row)
                if sample is None or images is None:
                    continue
                image = sample.pop("image")
                total += image.numel()
                if (images and image.shape != images[0].shape) or (
                    not cache and total > CACHE_BYTES
                ):
                    if cache:
                        sizes = f"{tuple(images[0].shape[1:])} and {tuple(image.shape[1:])}"
                        raise SourceError(
                            f"{self._columns.name}: cache_images=True needs pictures of one size, "
                            f"but there are {sizes}."
                        )
                    images = None
                    continue
                images.append(image)
                texts.append(sample)
        self._judge()
        self._index = (self._state == GOOD).nonzero().flatten()
        if images:
            self._images, self._texts = torch.stack(images), texts  # (N, 3, H, W)
        if len(self._index) < len(self._state):
            warnings.warn(self.report(), stacklevel=4)

    def _fetch(self, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            table = self._rows[list(numbers)]  # {column: list}
        except Exception as error:  # the library on values that are not of their column's type
            raise SourceError(
                f"{self._columns.name}: reading stopped: {shorten(str(error))}"
            ) from error
        for place, number in enumerate(numbers):
            yield number, {name: values[place] for name, values in table.items()}

    def _try(self, number: int, row: dict[str, Any]) -> dict[str, Any] | None:
        try:
            sample = self._columns.sample(row, number)
        except BadSampleError as bad:
            self._state[number] = 2 + REASONS.index(bad.reason)
            self._flawed = True
            return None
        self._state[number] = GOOD
        return sample

    def _good(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        """The sample of this row, or of the next good one."""
        sample = None if self._state[number] > GOOD else self._try(number, row)
        if sample is None and not self._warned:
            self._warned = True
            warnings.warn(f"{self.report()} Each is replaced by the next good one.", stacklevel=4)
        for step in range(1, len(self._state)):
            if sample is not None:
                break
            following = (number + step) % len(self._state)
            if self._state[following] <= GOOD:
                sample = self._try(following, self._rows[following])
        if sample is None:
            raise SourceError(self.report())
        return sample

    def _judge(self) -> None:
        tried, bad = int((self._state > 0).sum()), int((self._state > GOOD).sum())
        if tried >= min(len(self._state), ENOUGH) and bad > self._max_bad * tried:
            raise SourceError(f"{self.report()} More than {self._max_bad:.0%} is too many.")

    def report(self) -> str:
        """How many samples were skipped so far, why, and the first three; workers included."""
        counts = torch.bincount(self._state.long(), minlength=2 + len(REASONS)).tolist()
        examples = []
        for number in (self._state > GOOD).nonzero().flatten()[:3].tolist():
            row = self._rows[number]
            try:
                self._columns.sample(row, number)
            except BadSampleError as bad:
                examples.append((self._columns.key(row, number), bad))
        by_reason = dict(zip(REASONS, counts[2:], strict=True))
        return skip_report(self._columns.name, sum(counts[1:]), by_reason, examples)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Samples of several indices in one read (the DataLoader's batched protocol)."""
        places = torch.as_tensor(indices, dtype=torch.long)
        if len(places) and not -len(self) <= int(places.min()) <= int(places.max()) < len(self):
            raise IndexError(f"{self._columns.name} has {len(self)} samples: {list(indices)}")
        places = places % len(self)
        if self._images is not None:
            images = self._images[places]  # a copy, so that callers may write to it
            found = zip(places.tolist(), images, strict=True)
            return [{**self._texts[place], "image": image} for place, image in found]
        samples = [self._good(*pair) for pair in self._fetch(self._index[places].tolist())]
        if self._flawed:
            self._judge()
        return samples
