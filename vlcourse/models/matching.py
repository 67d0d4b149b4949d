"""What compares and matches images and texts, and which of them ITM looks at together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.layers.cache import KVCache, Started
from vlcourse.models.base import Trainable


class Matcher(Trainable):
    """A model that compares images and texts apart, and looks at them together: BLIP, BLIP-2.

    What an embedding of an image is, one vector or several, only :meth:`similarity` needs to know.
    """

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) images → (B, …, embed) embeddings, not L2-normalised."""

    @abstractmethod
    def encode_text(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L) ids → (B, embed) embeddings, not L2-normalised."""

    @abstractmethod
    def similarity(self, image: Tensor, text: Tensor) -> Tensor:
        """(B, …, embed) and (C, embed) embeddings → (B, C) cosines."""

    @abstractmethod
    def image_tokens(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) images → (B, N, C): what :meth:`match` looks at."""

    @abstractmethod
    def match(
        self,
        pixels: Tensor | None,
        tokens: Tensor,
        mask: Tensor | None = None,
        image_tokens: Tensor | None = None,
        *,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Does the text fit the image? (B, 2) logits, [no, yes]; ``rows`` (B,): which of the
        images each text goes with."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of tokens."""

    @abstractmethod
    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        pixels: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Started:
        """Look, read a prompt, make room for ``new_tokens`` (:mod:`vlcourse.generate.loop`)."""

    @abstractmethod
    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""


class Pairs(NamedTuple):
    """P texts, each beside one of M images: n that match, 2n hard pairs that do not, and k foils.

    Attributes:
        tokens, mask: (P, L).
        images: (M, N, C) image tokens.
        rows: (P,) which image stands beside each text.
        foils: k; None where the batch knows of no foils.
    """

    tokens: Tensor
    mask: Tensor
    images: Tensor
    rows: Tensor
    foils: int | None = None

    def losses(self, logits: Tensor) -> dict[str, Tensor]:
        """ITM's loss, and apart from it that of the foils beside the texts they were made from.

        They have a mean of their own: among twice as many pairs that differ in many words, those
        that differ in the order of their words would hardly be heard.

        Args:
            logits: (P, 2), [no, yes].

        Returns:
            ``"itm"``; and ``"foils"``, 0 for a batch of which no caption has a foil.
        """
        n = (len(logits) - (self.foils or 0)) // 3
        found = {"itm": losses.itm(logits[: 3 * n], torch.arange(3 * n, device=logits.device) < n)}
        if self.foils is not None:
            true = logits[self.rows[3 * n :]]
            matches = torch.arange(2 * self.foils, device=logits.device) < self.foils
            both = torch.cat([true, logits[3 * n :]])
            found["foils"] = losses.itm(both, matches) if self.foils else both.sum()
        return found


def hard_pairs(to_text: Tensor, to_image: Tensor, images: Tensor, batch: dict[str, Any]) -> Pairs:
    """Each of n pairs, its image with a wrong text, its text with a wrong image; and any foils.

    The wrong ones come from all ranks, likelier the more they look right. An equal caption is never
    wrong, nor is another one of the same group, nor a text that is known to be true of the image.

    Args:
        to_text, to_image: (n, N) similarities of this rank's images to all ranks' texts, and of
            its texts to all images.
        images: (n, N', C) this rank's image tokens.
        batch: ``"tokens"``, ``"mask"`` (n, L). Maybe ``"groups"`` (n,). Maybe ``"fits"`` (n, n)
            bool, which of this rank's texts (columns) are true of which of its images (rows); then
            wrong texts are taken from this rank alone. Maybe ``"foil_tokens"``, ``"foil_mask"``
            (k, F): texts that are false of the images of ``"foil_rows"`` (k,).

    Raises:
        ModelError: when a pair has no negative.

    Source: Li et al. 2021 (ALBEF), section 3.2.
    """
    tokens, mask, n = batch["tokens"], batch["mask"], len(images)
    all_tokens, all_mask = losses.gather_texts(tokens, mask)
    room = (0, all_tokens.shape[1] - tokens.shape[1])
    tokens, mask = F.pad(tokens, room), F.pad(mask, room)
    same = losses.equal_rows(tokens.masked_fill(~mask, -1), all_tokens.masked_fill(~all_mask, -1))
    if "groups" in batch:
        same |= batch["groups"][:, None] == losses.gather_rows(batch["groups"])
    true = same | _among_all(batch["fits"], same.shape[1]) if "fits" in batch else same
    wrong_text = losses.hard_negatives(to_text, true)  # (n,)
    wrong_image = losses.hard_negatives(to_image, same)
    own = torch.arange(n, device=images.device)
    if losses.is_distributed():
        images = torch.cat([images, losses.gather_rows(images)[wrong_image]])  # (2n, N', C)
        wrong_image = n + own
    texts, foils = [tokens, all_tokens[wrong_text], tokens], None  # (n, L) each
    masks, rows = [mask, all_mask[wrong_text], mask], [own, own, wrong_image]
    if "foil_tokens" in batch:
        texts, masks = [*texts, batch["foil_tokens"]], [*masks, batch["foil_mask"]]
        rows.append(batch["foil_rows"])
        foils = len(batch["foil_rows"])
    return Pairs(_stacked(texts), _stacked(masks), images, torch.cat(rows), foils)


def _among_all(fits: Tensor, columns: int) -> Tensor:
    """(n, n) bool, what fits on this rank → (n, N) with the other ranks' columns, all True."""
    before = losses.rank() * len(fits)
    return F.pad(fits, (before, columns - before - len(fits)), value=True)


def _stacked(texts: Sequence[Tensor]) -> Tensor:
    """(n, L) ids or masks of several lengths, one below the other: zeros on the right."""
    longest = max(each.shape[1] for each in texts)
    return torch.cat([F.pad(each, (0, longest - each.shape[1])) for each in texts])
