"""Where vectors that are no words stand among those that are: the order, and who is padding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100


def insert(
    vectors: Tensor, prompt: Tensor, at: int = 0, mask: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """For a decoder: [padding ‖ the first ``at`` tokens ‖ prompt ‖ the other tokens].

    Each row's padding moves to the far left, so that what is no padding stands side by side, as it
    would without the other rows.

    Args:
        vectors: (B, L, D) token vectors.
        prompt: (B, Q, D).
        at: how many tokens of a row stand before the prompt.
        mask: (B, L) bool, False for padding, anywhere; None when there is none.

    Returns:
        (B, L + Q, D), and the mask for it; None without padding.
    """
    if mask is None:
        return torch.cat([vectors[:, :at], prompt, vectors[:, at:]], dim=1), None
    place = mask.long().cumsum(dim=1) - 1  # (B, L), without padding
    ranks = torch.where(mask, torch.where(place < at, 1, 3), 0)
    return _sorted(vectors, prompt, ranks, mask)


def prepend(
    vectors: Tensor, prompt: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """For an encoder: [prompt ‖ tokens ‖ padding].

    Each row's padding moves to the far right: an encoder with relative positions sees how far each
    token is from the prompt, and padding in between would move it away.

    Args and result as in :func:`insert`.
    """
    if mask is None:
        return torch.cat([prompt, vectors], dim=1), None
    return _sorted(vectors, prompt, torch.where(mask, 3, 4), mask)


def insert_targets(targets: Tensor, queries: int, at: int = 0) -> Tensor:
    """(B, L) next tokens → (B, L + Q), for what :func:`insert` makes without padding.

    Nothing is learned where the next one is no word: at the last token before the prompt, and
    within it. What follows the prompt is the business of its last vector. (With ``at`` 0 that is
    the text's first token, which is given.)
    """
    nothing = targets.new_full((len(targets), queries), IGNORED)
    if at == 0:
        return torch.cat([nothing, targets], dim=1)
    before, moved = targets[:, : at - 1], targets[:, at - 1 : at]
    return torch.cat([before, nothing, moved, targets[:, at:]], dim=1)


def _sorted(vectors: Tensor, prompt: Tensor, ranks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Prompt (rank 2) and vectors in the order of their ranks, each row for itself."""
    queries = prompt.shape[1]
    order = F.pad(ranks, (queries, 0), value=2).argsort(dim=1, stable=True)  # (B, Q + L)
    whole = torch.cat([prompt, vectors], dim=1)
    seen = F.pad(mask, (queries, 0), value=True)
    return whole.gather(1, order[..., None].expand_as(whole)), seen.gather(1, order)
