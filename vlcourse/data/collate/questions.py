"""From pictures with questions to a batch of an answerer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlcourse.data.collate.pictures import Augmentation, check_augmentation, pixels
from vlcourse.tokenizers.med import MEDTokenizer


@dataclass(frozen=True)
class QuestionCollate:
    """Samples → batch, as a pure function of the samples and a random generator.

    Args:
        tokenizer, image_size, augment: as in `CaptionCollate`.
        context: most tokens of a question, and of an answer; longer ones are cut.
    """

    tokenizer: MEDTokenizer
    image_size: int = 32
    context: int = 64
    augment: Augmentation = "none"

    def __post_init__(self) -> None:
        check_augmentation(self.augment)

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: each with "id", "image" uint8 (3, H, W), "question" and "answers", which are
                pairs of an answer and its weight.
            generator: where the augmentation's chance comes from.

        Returns:
            ``{"pixels": (B, 3, S, S) float32, "questions": (B, Q) int64 [CLS] w … [SEP],
            "questions_mask": (B, Q) bool, "answers": (A, L) of all questions, "answers_mask",
            "rows": (A,) int64, whose answers they are, "weights": (A,) float32, "ids": list of
            str}``.
        """
        images = [s["image"] for s in samples]
        questions, questions_mask = self.tokenizer(
            [s["question"] for s in samples], self.context, truncate=True
        )
        answers = [(row, *each) for row, s in enumerate(samples) for each in s["answers"]]
        rows, texts, weights = zip(*answers, strict=True)
        tokens, mask = self.tokenizer(texts, self.context, truncate=True)
        return {
            "pixels": pixels(images, self.image_size, self.augment, generator),
            "questions": questions,
            "questions_mask": questions_mask,
            "answers": tokens,
            "answers_mask": mask,
            "rows": torch.tensor(rows),
            "weights": torch.tensor(weights),
            "ids": [s["id"] for s in samples],
        }
