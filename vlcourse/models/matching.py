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
        self, tokens: Tensor | None, mask: Tensor | None, new_tokens: int, **image: Any
    ) -> Started:
        """Look, read a prompt, make room for ``new_tokens`` (:mod:`vlcourse.generate.loop`)."""

    @abstractmethod
    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""


class Pairs(NamedTuple):
    """P texts, each beside one of M images; the first ones match, the others do not.

    Attributes:
        tokens, mask: (P, L).
        images: (M, N, C) image tokens.
        rows: (P,) which image stands beside each text.
    """

    tokens: Tensor
    mask: Tensor
    images: Tensor
    rows: Tensor


def hard_pairs(to_text: Tensor, to_image: Tensor, images: Tensor, batch: dict[str, Any]) -> Pairs:
    """Each of n pairs, its image with a wrong text, its text with a wrong image; and any foils.

    The wrong ones come from all ranks, likelier the more they look right. An equal caption is never
    wrong, nor is another one of the same group.

    Args:
        to_text, to_image: (n, N) similarities of this rank's images to all ranks' texts, and of
            its texts to all images.
        images: (n, N', C) this rank's image tokens.
        batch: ``"tokens"``, ``"mask"`` (n, L); maybe ``"groups"`` (n,), and ``"foil_tokens"``,
            ``"foil_mask"`` (n, F): texts that are false of their row's image.

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
    wrong_text = losses.hard_negatives(to_text, same)  # (n,)
    wrong_image = losses.hard_negatives(to_image, same)
    own = torch.arange(n, device=images.device)
    if losses.is_distributed():
        images = torch.cat([images, losses.gather_rows(images)[wrong_image]])  # (2n, N', C)
        wrong_image = n + own
    texts = [tokens, all_tokens[wrong_text], tokens]  # (n, L) each
    masks, rows = [mask, all_mask[wrong_text], mask], [own, own, wrong_image]
    if "foil_tokens" in batch:
        texts, masks = [*texts, batch["foil_tokens"]], [*masks, batch["foil_mask"]]
        rows.append(own)
    return Pairs(_stacked(texts), _stacked(masks), images, torch.cat(rows))


def _stacked(texts: Sequence[Tensor]) -> Tensor:
    """(n, L) ids or masks of several lengths, one below the other: zeros on the right."""
    longest = max(each.shape[1] for each in texts)
    return torch.cat([F.pad(each, (0, longest - each.shape[1])) for each in texts])
