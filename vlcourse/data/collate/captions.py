"""From samples to a batch of BLIP's: pixels, and captions with their mask."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlcourse.data.collate.pictures import Augmentation, check_augmentation, seen
from vlcourse.data.world import Caption, Scene
from vlcourse.data.world.foils import FOILS
from vlcourse.tokenizers.med import MEDTokenizer

# Exchanges first. Not "count": of two named objects the foil always says three.
KINDS = FOILS[:3]


@dataclass(frozen=True)
class CaptionCollate:
    """Samples → batch, as a pure function of the samples and a random generator.

    Args:
        tokenizer: turns the captions into ids.
        image_size: side of the pictures in the batch, in pixels.
        context: most tokens a caption may have; longer ones are cut.
        augment: as in :func:`vlcourse.data.collate.pictures.pixels`.
        prompt: words before each caption, "a picture of" say.
        groups: tell which pairs show one picture, so that each fits the other's caption.
        foils: add to a toy scene's caption the one that an exchange of its words makes false of the
            scene, where there is one.
        every_foil: add all that :func:`foils` makes, also one with an attribute replaced.
        truth: tell which captions are true of which toy scenes, also of others' than their own.
    """

    tokenizer: MEDTokenizer
    image_size: int = 32
    context: int = 64
    augment: Augmentation = "none"
    prompt: str = ""
    groups: bool = False
    foils: bool = False
    truth: bool = False
    every_foil: bool = False

    def __post_init__(self) -> None:
        check_augmentation(self.augment)

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: each with "id", "image" uint8 (3, H, W) or "features" (N, C), "caption", and
                perhaps "image_id"; for foils and truth also with its "scene".
            generator: where the augmentation's chance comes from.

        Returns:
            ``{"pixels": (B, 3, S, S) float32 or "features": (B, N, C), "tokens": (B, L) int64
            [CLS] w … [SEP], "mask": (B, L) bool, True for text, "ids": list of str, "captions":
            list of str}``, and on demand ``"groups"``: (B,) int64, a hash of "image_id", or of "id"
            where there is none, ``"foil_tokens"``, ``"foil_mask"`` (k, F), and which samples they
            belong to, ``"foil_rows"`` (k,); ``"fits"``: (B, B) bool, whether the scene of a row has
            all that the caption of a column says.
        """
        captions = [str(s["caption"]) for s in samples]
        texts = [f"{self.prompt} {caption}".strip() for caption in captions]
        tokens, mask = self.tokenizer(texts, self.context, truncate=True)
        batch = {
            **seen(samples, self.image_size, self.augment, generator),
            "tokens": tokens,
            "mask": mask,
            "ids": [s["id"] for s in samples],
            "captions": captions,
        }
        if self.groups:
            batch["groups"] = torch.tensor([number(s.get("image_id", s["id"])) for s in samples])
        if self.foils:
            batch |= self._foils(samples)
        if self.truth:
            said = [s["caption"] for s in samples]
            batch["fits"] = torch.tensor([[s["scene"].is_true(c) for c in said] for s in samples])
        return batch

    def _foils(self, samples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        made = [
            (row, f"{self.prompt} {foil}".strip())
            for row, s in enumerate(samples)
            for foil in foils(s["scene"], s["caption"], self.every_foil)
        ]
        rows, texts = [row for row, _ in made], [text for _, text in made]
        tokens, mask = torch.zeros(0, 1, dtype=torch.int64), torch.zeros(0, 1, dtype=torch.bool)
        if texts:
            tokens, mask = self.tokenizer(texts, self.context, truncate=True)
        return {"foil_tokens": tokens, "foil_mask": mask, "foil_rows": torch.tensor(rows).long()}


def foils(scene: Scene, caption: Caption, every: bool = False) -> list[Caption]:
    """Captions like this one that are false of the scene, one of a kind; fewer, where it has
    nothing to exchange.

    Args:
        scene, caption: what is seen, and what is truly said of it.
        every: with its relation exchanged, with two of its attributes exchanged, and with an
            attribute replaced. Else one, of the first kind of exchange that it allows.
    """
    made = (scene.find_foil(caption, kind) for kind in KINDS[: None if every else 2])
    found = [each for each in made if each]
    return found if every else found[:1]


def number(name: str) -> int:
    """A name as a number below 2^63, the same in every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1
