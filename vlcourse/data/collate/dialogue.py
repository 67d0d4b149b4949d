"""Chats as tokens: where the queries stand, and that only answers are learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlcourse.data.collate.text import IGNORED, encode_parts, padded
from vlcourse.data.corpus.dialogues import VIDEOCHAT, Dialogue, Template, dialogue
from vlcourse.tokenizers import TextTokenizer


@dataclass(frozen=True)
class DialogueCollate:
    """Chats → the texts of a batch for a decoder.

    Each piece is turned into ids by itself: no token stands across the join of what is given and
    what is learned, so that what is learned decodes to exactly the answers.

    Args:
        tokenizer: the language model's.
        context: most tokens of a chat, without the queries; longer ones are cut.
        template: the words around.
        end: close each chat with the end-of-text id.
    """

    tokenizer: TextTokenizer
    context: int = 512
    template: Template = VIDEOCHAT
    end: bool = False

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: each with "id", and "turns", pairs of a question and its answer; or "parts",
                what stands after the queries, each piece with whether it is to be learned. Of a
                video with "seconds", the times of its frames.
            generator: not used: nothing here is random.

        Returns:
            ``{"tokens": (B, L) int64, padded on the right, "targets": (B, L) the next tokens, -100
            where nothing is to be learned, "at": (B,) tokens before the queries, "ids": list of
            str}``.
        """
        tokens, targets, at = [], [], []
        for sample in samples:
            told = self.told(sample)
            ids, learned = self.encoded(told, self.context + 1)
            tokens.append(ids[:-1])
            after = zip(ids[1:], learned[1:], strict=True)
            targets.append([i if learn else IGNORED for i, learn in after])
            at.append(self.before(told))
        return {
            "tokens": padded(tokens, self.tokenizer.eos),
            "targets": padded(targets, IGNORED),
            "at": torch.tensor(at),
            "ids": [str(sample["id"]) for sample in samples],
        }

    def told(self, sample: dict[str, Any]) -> Dialogue:
        """A sample's chat in the template, or as it is."""
        if "parts" in sample:
            opened, _ = self.template.video if "seconds" in sample else self.template.image
            return Dialogue(opened, sample["parts"])
        return dialogue(sample["turns"], sample.get("seconds"), self.template)

    def encoded(self, told: Dialogue, most: int) -> tuple[list[int], list[bool]]:
        """Up to ``most`` ids of a chat, begin-of-text first, and which of them are learned."""
        before = ((told.before, False),) if told.before else ()
        return encode_parts(self.tokenizer, (*before, *told.parts), most, self.end)

    def before(self, told: Dialogue) -> int:
        """How many tokens stand before the queries, begin-of-text included."""
        return 1 + (len(self.tokenizer.encode(told.before)) if told.before else 0)

    def learns(self, sample: dict[str, Any]) -> bool:
        """Whether the context leaves a token of a sample's chat to be learned."""
        return any(self.encoded(self.told(sample), self.context + 1)[1])
