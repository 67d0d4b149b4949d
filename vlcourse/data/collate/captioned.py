"""Pictures with captions for a language model that goes on from a picture.

Prompt and caption are turned into ids apart and then joined, as in
:mod:`vlcourse.data.collate.pictured`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlcourse.data.collate.pictured import PicturedCollate
from vlcourse.data.collate.pictures import seen
from vlcourse.data.collate.prefix import cut_points, prefix_lm
from vlcourse.data.collate.text import padded


@dataclass(frozen=True)
class CaptionedCollate(PicturedCollate):
    """Samples → a batch for a decoder, or for an encoder–decoder where there is a ``start``.

    A decoder reads [start ‖ prompt] and learns the caption. An encoder reads the prompt, and the
    decoder learns the caption; without a prompt the caption itself is cut in two, and the encoder
    reads its beginning (prefix language modelling; Li et al. 2023, section 3.2).

    Args:
        tokenizer, image_size, context, augment, end: as in :class:`PicturedCollate`.
        prompt: words before each caption.
        stop: what ends each caption, such as a new line.
        start: the id that an encoder–decoder's decoder starts from; None for a decoder.
    """

    prompt: str = ""
    stop: str = ""
    start: int | None = None

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: each with "id", "caption", and "image" uint8 (3, H, W) or "features" (N, C).
            generator: where the cuts and the augmentation's chance come from.

        Returns:
            As of :class:`PicturedCollate`, or of :class:`PrefixPicturedCollate`.
        """
        written = [f"{s['caption']}{self.stop}" for s in samples]
        if self.start is None:
            given = ((self.prompt, False),) if self.prompt else ()
            told = [
                {**s, "parts": (*given, (text, True))}
                for s, text in zip(samples, written, strict=True)
            ]
            return super().__call__(told, generator)
        first = self.tokenizer.encode(self.prompt)[: self.context - 1]
        rows = [
            [*first, *self.tokenizer.encode(text, eos=self.end)][: self.context] for text in written
        ]
        lengths = torch.tensor([len(row) for row in rows])
        if first:
            cuts = torch.full_like(lengths, len(first))
        else:
            cuts = torch.minimum(cut_points(lengths, generator), lengths - 1)
        return {
            **seen(samples, self.image_size, self.augment, generator),
            **prefix_lm(padded(rows, self.start), lengths, cuts, self.start),
            "ids": [str(sample["id"]) for sample in samples],
        }
