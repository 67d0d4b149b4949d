"""From documents to batches: tokens, and the next token wherever it is to be learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlcourse.data.collate.prefix import shift_right
from vlcourse.tokenizers import TextTokenizer

IGNORED = -100
Parts = Sequence[tuple[str, bool]]
"""Pieces of a text, each with whether it is to be learned."""


def encode_parts(
    tokenizer: TextTokenizer, parts: Parts, context: int, end: bool = True
) -> tuple[list[int], list[bool]]:
    """A document's ids, begin-of-text first, and which of them are to be learned.

    Args:
        tokenizer: turns each part into ids; parts are joined by spaces.
        parts: pieces of text, each with whether it is to be learned.
        context: most ids; the rest is cut off.
        end: close the document with the end-of-text id, learned as its last part is.
    """
    ids, learned = [tokenizer.bos], [False]
    for text, learn in parts:
        encoded = tokenizer.encode(text)
        ids += encoded
        learned += [learn] * len(encoded)
    if end:
        ids.append(tokenizer.eos)
        learned.append(learned[-1])
    return ids[:context], learned[:context]


def padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Rows of different lengths → (B, longest) int64, filled up with ``value`` on the right."""
    longest = max(map(len, rows))
    full = [[*row, *[value] * (longest - len(row))] for row in rows]
    return torch.tensor(full, dtype=torch.int64)  # also where all of them are empty


@dataclass(frozen=True)
class TextCollate:
    """Documents → a batch for a decoder-only language model.

    Args:
        tokenizer: turns text into ids.
        context: most tokens of a document; longer ones are cut.
        end: close each document with the end-of-text id.
    """

    tokenizer: TextTokenizer
    context: int = 512
    end: bool = True

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: each with "id", and "parts" or "text" (all of which is then learned), or "ids"
                (tokens already, all learned).
            generator: not used: nothing here is random.

        Returns:
            ``{"tokens": (B, L) int64, padded on the right, "targets": (B, L) the next tokens, -100
            where nothing is to be learned, "ids": list of str}``. Under a causal mask the padding
            cannot be seen, so it needs no mask.
        """
        tokens, targets = [], []
        for sample in samples:
            if "ids" in sample:
                row = sample["ids"][: self.context + 1]
                learned = [True] * len(row)
            else:
                parts = sample.get("parts") or ((sample["text"], True),)
                row, learned = encode_parts(self.tokenizer, parts, self.context + 1, self.end)
            tokens.append(row[:-1])
            after = zip(row[1:], learned[1:], strict=True)
            targets.append([i if learn else IGNORED for i, learn in after])
        return {
            "tokens": padded(tokens, self.tokenizer.eos),
            "targets": padded(targets, IGNORED),
            "ids": [str(sample["id"]) for sample in samples],
        }


@dataclass(frozen=True)
class PrefixCollate:
    """Documents → a batch for an encoder–decoder: it reads a prefix and writes the rest.

    A description with questions (of kind "reading") makes several rows: each time the encoder reads
    the description and one question, and the decoder gives the answer. Questions that the decoder
    reads are learned faster; but little of it carries over to questions that the encoder reads. A
    list (of kind "recall") makes one row, cut after its first question three times of four, else
    before it; the decoder reads the other questions. Any other document makes one row, too, cut
    after the first part as often as before any later one that is to be learned.

    Args:
        tokenizer, context, end: as in :class:`TextCollate`.
        start: the id that the decoder starts from.
        rows: most questions of one document, each with a row of its own.
    """

    tokenizer: TextTokenizer
    context: int = 512
    end: bool = True
    start: int = 0
    rows: int = 4

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: each with "id", and "parts" (at least one).
            generator: chooses the cuts; without one each is before the last part.

        Returns:
            ``{"inputs": (B, S) int64, "inputs_mask": (B, S) bool, "tokens": (B, L) the decoder's
            inputs, "targets": (B, L), -100 where nothing is to be learned, "ids": list of str}``;
            B is as many as samples, or more.
        """
        inputs, targets, names = [], [], []
        for sample in samples:
            for read, written in self._cut(sample, generator):
                before, _ = encode_parts(self.tokenizer, read, self.context, end=False)
                after, learned = encode_parts(self.tokenizer, written, self.context + 1, self.end)
                inputs.append(before)
                targets.append(list(zip(after[1:], learned[1:], strict=True)))
                names.append(str(sample["id"]))
        ids = padded([[i for i, _ in row] for row in targets], IGNORED)  # also what is not learned
        wanted = padded([[i if learn else IGNORED for i, learn in row] for row in targets], IGNORED)
        lengths = torch.tensor([len(row) for row in inputs])
        return {
            "inputs": padded(inputs, self.tokenizer.eos),
            "inputs_mask": torch.arange(int(lengths.max())) < lengths[:, None],
            "tokens": shift_right(ids, self.start, self.tokenizer.eos),
            "targets": wanted,
            "ids": names,
        }

    def _cut(
        self, sample: dict[str, Any], generator: torch.Generator | None
    ) -> list[tuple[Parts, Parts]]:
        """What is read and what is written, for each row that a document makes."""
        parts = sample["parts"]
        places = [i for i in range(1, len(parts)) if parts[i][1]] or [0]
        cut = places[-1]
        if generator is not None:
            if _one_by_one(sample):
                return [((parts[0], parts[i - 1]), parts[i : i + 1]) for i in places[: self.rows]]
            first, other = torch.randint(1 << 30, (2,), generator=generator).tolist()
            if sample.get("kind") == "recall":
                cut = places[0] if first % 4 else 1
            else:
                cut = min(1, len(parts) - 1) if first % 2 else places[other % len(places)]
        return [(parts[:cut], parts[cut:])]


def rows_size(sample: dict[str, Any]) -> tuple[bool, int]:
    """The size of a document's rows in a batch of :class:`PrefixCollate`, to sort documents by.

    Those read question by question come first, by the length of their descriptions: an answer is
    short, and beside a story it would be mostly padding.
    """
    parts = sample["parts"]
    if _one_by_one(sample):
        return False, len(parts[0][0])
    return True, sum(len(text) for text, _ in parts)


def _one_by_one(sample: dict[str, Any]) -> bool:
    """Whether a document is a description with questions, of which only answers are learned."""
    learned = [learn for _, learn in sample["parts"][1:]]
    return sample.get("kind") == "reading" and not all(learned)
