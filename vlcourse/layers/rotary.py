"""Rotary position embedding (Su et al. 2021, "RoFormer", section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor


def rotations(positions: Tensor, width: int, theta: float = 10_000.0) -> Tensor:
    """The rotation of each pair of channels at each position, as a complex number exp(i m θ_j).

    Pair j turns by m · θ_j radians at position m, with θ_j = theta^(-2j / width): the first pairs
    turn fast, the last ones hardly at all (equation 15).

    Args:
        positions: (…, L) integer positions m.
        width: channels of one head; even.
        theta: base of the wavelengths.

    Returns:
        (…, L, width / 2) complex64.

    Raises:
        ValueError: when the width is odd.
    """
    if width % 2:
        raise ValueError(f"rotary positions need an even number of channels a head, not {width}")
    pairs = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32)
    angles = positions.float().unsqueeze(-1) * theta ** (-pairs / width)  # (…, L, width / 2)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels (2j, 2j + 1), read as one complex number.

    The dot product of two turned vectors depends on their contents and on the *difference* of
    their positions alone. Computed in float32.

    Args:
        x: (B, heads, L, width).
        rotation: from :func:`rotations`; (L, width / 2), or (B, L, width / 2).

    Returns:
        The same shape and type as ``x``.
    """
    if rotation.ndim == 3:
        rotation = rotation.unsqueeze(1)  # (B, 1, L, width / 2), the same for every head
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))  # (B, heads, L, width / 2)
    return torch.view_as_real(pairs * rotation).flatten(-2).type_as(x)
