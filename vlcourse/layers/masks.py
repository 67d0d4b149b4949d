"""Attention masks: bool, True = may attend."""

from __future__ import annotations

import torch
from torch import Tensor


def causal(length: int, past: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """(L, past + L): position past + i sees positions up to itself."""
    return torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)


def positions(
    seen: Tensor | None, past: int, length: int, device: torch.device | str = "cpu"
) -> Tensor:
    """The positions of the newest ``length`` tokens, counted without padding.

    Args:
        seen: (B, past + L) bool, False for padding; None when there is none.
        past: tokens before.
        length: L.

    Returns:
        (L,), or (B, L) when there is padding (whose own position is 0).
    """
    if seen is None:
        return torch.arange(past, past + length, device=device)
    return (seen.long().cumsum(dim=1) - 1).clamp(min=0)[:, past:]


def decoder(
    seen: Tensor | None, past: int, length: int, device: torch.device | str = "cpu"
) -> tuple[Tensor | None, bool]:
    """What a decoder's newest ``length`` tokens may attend to: a mask, and whether it is causal.

    Args:
        seen: (B, past + L) bool, False for padding; None when there is none.
        past, length: tokens before, and new ones.

    Returns:
        ``mask`` and ``causal`` as :class:`vlcourse.layers.attention.Attention` takes them: the
        mask is (B, 1, L, S), (L, S), or None where the flag or nothing at all is enough. A padding
        position sees itself, so that no row is empty (the softmax of nothing is not a number).
    """
    if seen is None:
        if past == 0 or length == 1:
            return None, past == 0 and length > 1
        return causal(length, past, device), False
    allowed = causal(length, past, device) & seen[:, None, None, :]  # (B, 1, L, S)
    itself = torch.eye(length, past + length, dtype=torch.bool, device=device).roll(past, 1)
    return allowed | itself, False
