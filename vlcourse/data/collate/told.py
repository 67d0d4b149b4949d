"""From instructions with and without pictures to a batch for an adapter that sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlcourse.data.collate.pictures import pixels
from vlcourse.data.collate.text import TextCollate


@dataclass(frozen=True)
class ToldCollate:
    """Samples → batch: the texts as :class:`TextCollate` makes them, and the pictures beside them.

    Args:
        text: what makes tokens and targets.
        image_size: side of the pictures in the batch, in pixels.
    """

    text: TextCollate
    image_size: int = 32

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: as :class:`TextCollate` takes them; some or all with "image" uint8 (3, H, W),
                and some with "kind" "caption".
            generator: not used: nothing here is random.

        Returns:
            What :class:`TextCollate` gives; ``"captions"`` (B,) bool, which are captions; and
            where there are pictures, ``"shown"`` (B,) bool, which rows have one, and ``"pixels"``
            (number of these, 3, S, S), in their order.
        """
        batch = self.text(samples, generator)
        batch["captions"] = torch.tensor([s.get("kind") == "caption" for s in samples])
        if images := [s["image"] for s in samples if "image" in s]:
            batch["pixels"] = pixels(images, self.image_size, "none", generator)
            batch["shown"] = torch.tensor(["image" in s for s in samples])
        return batch
