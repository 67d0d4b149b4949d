"""Records of instructions as samples: a template around what is asked, and only answers learned."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlcourse.data.collate.text import Parts
from vlcourse.data.order import Order, Ordered
from vlcourse.data.sources.decode import BadSampleError, SourceError, decode, skip_report
from vlcourse.data.sources.instruct import Record, Turn
from vlcourse.tokenizers import TextTokenizer

HELD_OUT = 100  # one record in so many is kept for the test, the first one too
# The words around an instruction that Alpaca's models, and LLaMA-Adapter's, were trained with.
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n"
)
ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
)


def alpaca_prompt(instruction: str, given: str = "", first: bool = True) -> str:
    """Alpaca's template around an instruction, up to where the response begins.

    Args:
        instruction: what to do.
        given: further context, such as what an expert says of the picture; "" for none.
        first: later turns of a conversation go without the sentence at the beginning.
    """
    opening = (ALPACA_INPUT if given else ALPACA) if first else "\n\n"
    context = f"### Input:\n{given}\n\n" if given else ""
    return f"{opening}### Instruction:\n{instruction}\n\n{context}### Response:"


def parts_of(turns: Sequence[Turn]) -> Parts:
    """A record's turns as pieces of text, of which the answers are to be learned."""
    parts: list[tuple[str, bool]] = []
    for i, turn in enumerate(turns):
        parts += [(alpaca_prompt(turn.instruction, turn.input, i == 0), False), (turn.answer, True)]
    return tuple(parts)


class Instructed(Ordered):
    """Records as a map-style dataset of {"id", "parts", "text"}, and "image" where it has one.

    A record whose every answer is empty, or is cut off by the context, has nothing to learn: its
    loss would be a mean over no words. Such ones are dropped, counted, and reported in a warning.

    Args:
        records: as :func:`vlcourse.data.sources.instruct.read_instructions` gives them.
        name: of their source, for the report.
        tokenizer, context: those of the batches: they tell what is cut off.
        split: "train", or "test": one record in a hundred, the first one too.
        folder: where pictures' paths begin; None leaves pictures out.

    Raises:
        SourceError: when nothing is left.
    """

    def __init__(
        self,
        records: Sequence[Record],
        name: str,
        tokenizer: TextTokenizer,
        context: int,
        split: str = "train",
        folder: Path | None = None,
    ) -> None:
        self.order = Order(window=8)
        self.folder = folder
        self.records: list[tuple[Record, Parts]] = []
        self._name, self._tried = name, 0
        self._dropped: Counter[str] = Counter()
        self._examples: list[tuple[str, BadSampleError]] = []
        for i, record in enumerate(records):
            if (i % HELD_OUT == 0) != (split != "train"):
                continue
            self._tried += 1
            parts = parts_of(record.turns)
            if reason := nothing_to_learn(tokenizer, parts, context):
                self._dropped[reason] += 1
                self._examples = [*self._examples, (record.name, BadSampleError(reason))][:3]
            else:
                self.records.append((record, parts))
        if not self.records:
            raise SourceError(f"{name} has nothing for '{split}'. {self.report()}")
        if self._dropped:
            warnings.warn(self.report(), stacklevel=2)

    def report(self) -> str:
        """How many records were dropped, why, and the first three."""
        return skip_report(self._name, self._tried, self._dropped, self._examples)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record, parts = self.records[index]
        found: dict[str, Any] = {
            "id": record.name,
            "parts": parts,
            "text": " ".join(text for text, _ in parts),
        }
        if record.image and self.folder is not None:
            try:
                found["image"] = decode(record.image, self.folder)
            except BadSampleError as bad:
                raise SourceError(f"{record.name}: {bad.reason} ({bad.detail})") from bad
        return found


def nothing_to_learn(tokenizer: TextTokenizer, parts: Parts, context: int) -> str | None:
    """Why no word of these parts can be learned, or None: "empty answer", "answer cut off"."""
    if not any(learn and text.strip() for text, learn in parts):
        return "empty answer"
    length = 1  # the begin-of-text id
    for text, learn in parts:
        if learn and text.strip():
            return None if length <= context else "answer cut off"
        length += len(tokenizer.encode(text))
    return None
