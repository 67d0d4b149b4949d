"""Where vectors that are no words stand among those that are: the order, and who is padding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100


def insert(
    vectors: Tensor, prompt: Tensor, at: int | Tensor = 0, mask: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """For a decoder: [padding ‖ the first ``at`` tokens ‖ prompt ‖ the other tokens].

    Each row's padding moves to the far left, so that what is no padding stands side by side, as it
    would without the other rows.

    Args:
        vectors: (B, L, D) token vectors.
        prompt: (B, Q, D).
        at: how many tokens of a row stand before the prompt; (B,) where rows differ in that.
        mask: (B, L) bool, False for padding, anywhere; None when there is none.

    Returns:
        (B, L + Q, D), and the mask for it; None without padding.
    """
    if mask is None and isinstance(at, int):
        return torch.cat([vectors[:, :at], prompt, vectors[:, at:]], dim=1), None
    seen = torch.ones_like(vectors[..., 0], dtype=torch.bool) if mask is None else mask
    place = seen.long().cumsum(dim=1) - 1  # (B, L), without padding
    ranks = torch.where(seen, torch.where(place < _column(at), 1, 3), 0)
    x, kept = _sorted(vectors, prompt, ranks, seen)
    return x, None if mask is None else kept


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


def insert_targets(targets: Tensor, queries: int, at: int | Tensor = 0) -> Tensor:
    """(B, L) next tokens → (B, L + Q), for what :func:`insert` makes without padding.

    Nothing is learned where the next one is no word: at the last token before the prompt, and
    within it. What follows the prompt is the business of its last vector. (With ``at`` 0 that is
    the text's first token, which is given.)
    """
    place = torch.arange(targets.shape[1], device=targets.device).expand_as(targets)
    place = place + queries * (place >= _column(at) - 1)  # (B, L): where each target goes
    longer = targets.new_full((len(targets), targets.shape[1] + queries), IGNORED)
    return longer.scatter(1, place, targets)


def _column(at: int | Tensor) -> int | Tensor:
    """(B,) → (B, 1), for a comparison with places."""
    return at if isinstance(at, int) else at[:, None]


def _sorted(vectors: Tensor, prompt: Tensor, ranks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Prompt (rank 2) and vectors in the order of their ranks, each row for itself."""
    queries = prompt.shape[1]
    order = F.pad(ranks, (queries, 0), value=2).argsort(dim=1, stable=True)  # (B, Q + L)
    whole = torch.cat([prompt, vectors], dim=1)
    seen = F.pad(mask, (queries, 0), value=True)
    return whole.gather(1, order[..., None].expand_as(whole)), seen.gather(1, order)
