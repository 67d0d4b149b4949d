"""Which images and texts ITM looks at together: each pair, and hard pairs that do not match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses


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
