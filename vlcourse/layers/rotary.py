"""Rotary position embedding (Su et al. 2021, "RoFormer", section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rotations(
    positions: Tensor,
    width: int,
    theta: float = 10_000.0,
    factor: float = 1.0,
    context: int = 0,
    low: float = 1.0,
    high: float = 4.0,
) -> Tensor:
    """The rotation of each pair of channels at each position, as a complex number exp(i m θ_j).

    Pair j turns by m · θ_j radians at position m, with θ_j = theta^(-2j / width): the first pairs
    turn fast, the last ones hardly at all (equation 15).

    Args:
        positions: (…, L) integer positions m.
        width: channels of one head; even.
        theta: base of the wavelengths.
        factor, context, low, high: for longer texts than it was trained on, as in :func:`slowed`.

    Returns:
        (…, L, width / 2) complex64.

    Raises:
        ValueError: when the width is odd.
    """
    if width % 2:
        raise ValueError(f"rotary positions need an even number of channels a head, not {width}")
    pairs = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32)
    turns = theta ** (-pairs / width)  # (width / 2,) radians from one position to the next
    if factor != 1:
        turns = slowed(turns, factor, context, low, high)
    angles = positions.float().unsqueeze(-1) * turns  # (…, L, width / 2)
    return torch.polar(torch.ones_like(angles), angles)


def slowed(turns: Tensor, factor: float, context: int, low: float, high: float) -> Tensor:
    """Slower rotations, so that ``factor`` times longer texts reach no angle that is new.

    All of them alike (position interpolation, Chen et al. 2023), or as LLaMA 3.1 has it: a pair
    that turns often within the old context tells near positions apart and stays as it is; one that
    turns hardly once is slowed down; between the two it is a blend ("NTK by parts", Peng et al.
    2023, section 3.2).

    Args:
        turns: (width / 2,) radians from one position to the next.
        factor: how much slower.
        context: positions of the old context; 0 slows all pairs.
        low, high: turns within ``context`` up to which a pair is slowed down, and from which on it
            stays; low < high.

    Returns:
        (width / 2,).
    """
    if not context:
        return turns / factor
    stays = ((context * turns / (2 * math.pi) - low) / (high - low)).clamp(0, 1)  # 0: slowed down
    return turns * (stays + (1 - stays) / factor)


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
    pairs = torch.view_as_complex(x.float().contiguous().unflatten(-1, (-1, 2)))
    # pairs: (B, heads, L, width / 2); contiguous, since heads may have been split as "(d h)"
    return torch.view_as_real(pairs * rotation).flatten(-2).type_as(x)
