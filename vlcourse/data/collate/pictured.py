"""Pictures with texts for a language model that goes on from a picture: its second stage's batches.

Each part of a text is turned into ids by itself, and the ids are joined: no token stands across
the join of what is given and what is learned, and what is learned decodes to exactly its part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlcourse.data.collate.pictures import Augmentation, check_augmentation, seen
from vlcourse.data.collate.prefix import shift_right
from vlcourse.data.collate.text import IGNORED, TextCollate, encode_parts, padded
from vlcourse.tokenizers import TextTokenizer


@dataclass(frozen=True)
class PicturedCollate:
    """Samples → a batch for a decoder: [start ‖ text], between which the queries take their place.

    Args:
        tokenizer: the language model's.
        image_size: side of the pictures in the batch, in pixels.
        context: most tokens of a text; longer ones are cut.
        augment: as in :func:`vlcourse.data.collate.pictures.pixels`.
        end: close each text with the end-of-text id.
    """

    tokenizer: TextTokenizer
    image_size: int = 32
    context: int = 128
    augment: Augmentation = "none"
    end: bool = True

    def __post_init__(self) -> None:
        check_augmentation(self.augment)

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: each with "id", "image" uint8 (3, H, W) or "features" (N, C), and "parts",
                each with whether it is to be learned.
            generator: where the augmentation's chance comes from.

        Returns:
            ``{"pixels": (B, 3, S, S) or "features": (B, N, C), "tokens": (B, L) int64, padded on
            the right, "targets": (B, L) the next tokens, -100 where nothing is to be learned,
            "ids": list of str}``.
        """
        texts = TextCollate(self.tokenizer, self.context, self.end)(samples)
        return {**seen(samples, self.image_size, self.augment, generator), **texts}


@dataclass(frozen=True)
class PrefixPicturedCollate(PicturedCollate):
    """The same for an encoder–decoder: it reads [queries ‖ what is given], and writes the rest.

    A picture said again is written as a whole, "in other words:" included, as the model writes it
    after a telling that it has read. Of facts the encoder reads some, and at least one.

    Args:
        start: the id that the decoder starts from.
    """

    start: int = 0

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Returns:
            ``"pixels"`` or ``"features"``, and ``{"inputs": (B, P) int64, "inputs_mask": (B, P)
            bool, "tokens": (B, L) the decoder's inputs, "targets": (B, L), "ids": list of str}``.
        """
        read, written = [], []
        for sample in samples:
            parts = sample["parts"]
            cut = self._cut(sample, generator)
            read.append(encode_parts(self.tokenizer, parts[:cut], self.context, end=False)[0][1:])
            ids, learned = encode_parts(self.tokenizer, parts[cut:], self.context + 1, self.end)
            written.append(list(zip(ids[1:], learned[1:], strict=True)))
        ids_of = padded([[i for i, _ in row] for row in written], IGNORED)
        wanted = [[i if learn else IGNORED for i, learn in row] for row in written]
        lengths = torch.tensor([len(row) for row in read])
        return {
            **seen(samples, self.image_size, self.augment, generator),
            "inputs": padded(read, self.tokenizer.eos),
            "inputs_mask": torch.arange(int(lengths.max())) < lengths[:, None],
            "tokens": shift_right(ids_of, self.start, self.tokenizer.eos),
            "targets": padded(wanted, IGNORED),
            "ids": [str(sample["id"]) for sample in samples],
        }

    def _cut(self, sample: dict[str, Any], generator: torch.Generator | None) -> int:
        """How many parts the encoder reads."""
        most = len(sample["parts"]) - 1
        if sample["kind"] == "again" or most < 1:
            return 0
        return most if generator is None else 1 + int(torch.randint(most, (), generator=generator))
