"""The Q-Former's three masks over [queries ‖ text] (Li et al. 2023, BLIP-2, figure 2, right).

One Transformer does three jobs, and only the mask says which. Rows look, columns are looked at:

    unimodal            multimodal causal     bidirectional
          Q   T               Q   T                 Q   T
      Q   ■   ·           Q   ■   ·             Q   ■   ■
      T   ·   ■           T   ■   ◣             T   ■   ■
"""

from __future__ import annotations

import torch
from torch import Tensor


def unimodal(queries: int, seen: Tensor) -> Tensor:
    """Contrast (ITC): queries see queries, the text sees the text; else the answer would leak.

    Args:
        queries: Q, how many stand before the text.
        seen: (B, L) bool, False for padding.

    Returns:
        (B, 1, Q + L, Q + L) bool, True = may attend. A position of padding sees itself, too, so
        that no row is empty.
    """
    looks, seen_at = _is_text(queries, seen)
    return _without_padding(looks == seen_at, queries, seen)


def multimodal_causal(queries: int, seen: Tensor) -> Tensor:
    """Writing (ITG): queries see queries only; a token sees all queries and the tokens up to it.

    So all that the text learns of the image has passed through the queries. Arguments and result
    as in :func:`unimodal`.
    """
    looks, seen_at = _is_text(queries, seen)
    before = torch.ones(len(looks), len(looks), dtype=torch.bool, device=seen.device).tril()
    return _without_padding(~seen_at | (looks & before), queries, seen)


def bidirectional(queries: int, seen: Tensor) -> Tensor:
    """Matching (ITM): all see all. Arguments and result as in :func:`unimodal`."""
    looks, seen_at = _is_text(queries, seen)
    return _without_padding(looks | ~looks | seen_at, queries, seen)


def _is_text(queries: int, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a position is text, as a column (who looks) and as a row (who is looked at)."""
    text = torch.arange(queries + seen.shape[1], device=seen.device) >= queries  # (Q + L,)
    return text[:, None], text


def _without_padding(allowed: Tensor, queries: int, seen: Tensor) -> Tensor:
    """(S, S) → (B, 1, S, S): nobody looks at padding, but for itself."""
    seen = torch.cat([seen.new_ones(len(seen), queries), seen], dim=1)  # (B, Q + L)
    itself = torch.eye(seen.shape[1], dtype=torch.bool, device=seen.device)
    return (allowed & seen[:, None, None, :]) | itself
