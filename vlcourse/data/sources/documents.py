"""Real texts as a language model is pretrained on them: one stream of tokens, cut into windows."""

from __future__ import annotations

import random
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from vlcourse.data.sources.decode import BadSampleError, SourceError
from vlcourse.data.sources.skipped import Skipped
from vlcourse.data.sources.text_files import Text, find_texts
from vlcourse.tokenizers import TextTokenizer

HELD_OUT = 100  # of a source without a test split, one document in so many is kept for it
MAX_BAD = 0.05  # the share of bad documents from which on a source is refused
BUFFER = 1000  # documents that are shuffled among each other,
BUFFER_CHARACTERS = 1 << 24  # or as many as are that long


class Documents(IterableDataset[dict[str, Any]]):
    """The texts of a source, tokenised, joined and cut into windows of ``context + 1`` tokens.

    Each document stands between the begin-of-text and the end-of-text id, and one follows the other
    without padding. A window's last token is the first of the next one, so that, as inputs
    ``ids[:-1]`` and targets ``ids[1:]``, every token of every document is learned once in a pass.
    (Only the very first begin-of-text is no target, and the last window is filled up with the
    beginning of the first.) As in the paper's code, attention is not stopped between documents.

    A pass is shuffled: the order of the files, and the documents within a buffer of 1,000 or 16
    million characters. That is too little for files of different kinds, which are read one after
    the other: shuffle a mixture when it is written.

    A document that cannot be used (empty, not a string, a broken line) is left out, counted and
    reported at the end of a pass; ``report()`` tells at any time. Above 5 % it is an error. (A file
    of no bytes holds no document.)

    Where the source has no test or validation split, one document in a hundred is kept from
    training for it: the good document j of the non-empty file i (both from 0) when i + j is a
    multiple of 100. So the first document is always held out.

    Args:
        source: a file, a folder (with its sub-folders) or a glob of .jsonl, .json (lines or one
            list), .parquet and plain text, .gz or not. Rows have a column "text", or only one of
            strings; a plain text is one document. Of a folder, .txt is read and other plain texts
            (.md, .rst, .tex, .py) are not: name them in a glob. Or a hub id "owner/name", the only
            form that uses the network.
        split: "train", "test" or "validation"; the files are told apart by their names (see
            :func:`vlcourse.data.sources.text_files.find_texts`). Only "train" is shuffled.
        tokenizer: turns text into ids.
        context: tokens of a window, less the one that is only a target.
        seed: of the shuffle; ``set_epoch`` gives another order each epoch.
        limit: read the first so many documents only, 0 for all; then the files keep their order.

    Raises:
        SourceError: one sentence: no such source or split, a form that cannot be read, no network;
            while reading: a damaged file, no column of text, too many bad documents, or none.
    """

    def __init__(
        self,
        source: str | Path,
        split: str,
        tokenizer: TextTokenizer,
        context: int,
        seed: int = 0,
        limit: int = 0,
    ) -> None:
        self.tokenizer, self.context, self.split, self.limit = tokenizer, context, split, limit
        self._source = find_texts(source, split)
        self._seed, self._epoch = seed, 0
        self._skipped = Skipped(self._source.name, MAX_BAD)

    def set_epoch(self, epoch: int) -> None:
        """Another order, from (seed, epoch)."""
        self._epoch = epoch

    def report(self) -> str:
        """How many documents were skipped in the latest pass, why, and the first three."""
        return self._skipped.report()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Windows: ``{"id": where it begins, "file:row+token", "ids": list of context + 1 ids}``.

        Raises:
            SourceError: see the class.
        """
        worker = get_worker_info()
        if worker and worker.num_workers > 1:
            raise SourceError("texts have one reader, which keeps their order: use one worker.")
        self._skipped.clear()
        training, order = self.split == "train", random.Random(f"{self._seed}/{self._epoch}")
        texts = self._texts(order if training and not self.limit else None)
        texts = islice(texts, self.limit or None)
        some = False
        for window in self._windows(shuffled(texts, order) if training else texts, fill=training):
            some = True
            yield window
        self._skipped.judge()
        if not some:
            hint = f": of its documents one in {HELD_OUT} is" if self._source.mixed else ""
            raise SourceError(
                f"{self._source.name} is too small: it has no text for '{self.split}'"
                f"{hint and hint + ' held out for the test, the first one too'}."
            )
        if self._skipped:
            warnings.warn(self.report(), stacklevel=2)

    def first(self, n: int) -> list[dict[str, Any]]:
        """The first ``n`` windows, or as many as there are, as a small map-style dataset.

        If a split other than "train" is shorter than one window, there is one shorter window.
        """
        found = list(islice(self, n))
        if len(found) == n and self._skipped:  # else the pass has ended, and warned
            warnings.warn(self.report(), stacklevel=2)
        return found

    def _texts(self, order: random.Random | None) -> Iterator[Text]:
        """The good texts of this split."""
        places, place = [], 0
        for file in self._source.files:
            places.append((place, file))
            place += not file.empty
        if order:
            order.shuffle(places)
        for place, file in places:
            for text in file:
                self._skipped.tried()
                if isinstance(text.text, BadSampleError):
                    self._skipped.add(text.key, text.text)
                    continue
                held_out, place = place % HELD_OUT == 0, place + 1
                if not self._source.mixed or held_out == (self.split != "train"):
                    yield text

    def _windows(self, texts: Iterable[Text], fill: bool) -> Iterator[dict[str, Any]]:
        """Windows of the texts in their order; with ``fill`` the last one is whole too."""
        length = self.context + 1
        ids: list[int] = []
        starts: list[tuple[int, str]] = []  # where in ids each text begins, and its key
        first: list[int] = []

        def window(at: int, found: list[int]) -> dict[str, Any]:
            begin, key = starts[bisect_right(starts, at, key=lambda start: start[0]) - 1]
            return {"id": f"{key}+{at - begin}", "ids": found}

        for text in texts:
            starts.append((len(ids), text.key))
            encoded = self.tokenizer.encode(str(text.text), bos=text.begins, eos=text.ends)
            ids += encoded
            first += encoded[: length - len(first)]
            at = 0
            while len(ids) - at >= length:
                yield window(at, ids[at : at + length])
                at += self.context  # the last token is the next window's first
            if at:
                del ids[:at]
                begun = bisect_right(starts, at, key=lambda start: start[0]) - 1
                starts = [(begin - at, key) for begin, key in starts[begun:]]
        if len(ids) > 1 and fill:
            while len(ids) < length:
                ids += first
            yield window(0, ids[:length])
        elif len(ids) > 1 and len(first) < length:
            yield window(0, ids)


def shuffled(texts: Iterable[Text], order: random.Random) -> Iterator[Text]:
    """The texts in a random order, as far as a buffer reaches."""
    buffer: list[Text] = []
    characters = 0
    for text in texts:
        buffer.append(text)
        characters += len(str(text.text))
        while len(buffer) > BUFFER or characters > BUFFER_CHARACTERS:
            place = order.randrange(len(buffer))
            buffer[place], buffer[-1] = buffer[-1], buffer[place]
            characters -= len(str(buffer[-1].text))
            yield buffer.pop()
    order.shuffle(buffer)
    yield from buffer
