"""Relative positions (Raffel et al. 2020, section 2.1): how far an attention looks, by buckets."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers import masks


def relative_buckets(
    distance: Tensor, bidirectional: bool, buckets: int = 32, max_distance: int = 128
) -> Tensor:
    """Which bucket a relative position is in (Raffel et al. 2020, section 2.1).

    The first half of the buckets hold one distance each; the others grow with the logarithm of the
    distance up to ``max_distance``, and the last one holds all beyond.

    Args:
        distance: position looked at minus position looking, int64 of any shape.
        bidirectional: half of the buckets are for positions ahead. Otherwise those are in bucket 0.

    Returns:
        int64 in [0, buckets), shaped as ``distance``.
    """
    first: Tensor | int = 0
    if bidirectional:
        buckets //= 2
        first = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    share = torch.log(distance.clamp(min=exact).float() / exact) / math.log(max_distance / exact)
    far = (exact + (share * (buckets - exact)).long()).clamp(max=buckets - 1)
    return first + torch.where(distance < exact, distance, far)


class RelativeBias(nn.Module):
    """What each head adds to its dot products at each relative position; one for a whole stack.

    Args:
        heads: number of heads.
        bidirectional: False for a decoder, where nothing ahead is seen.
        buckets, max_distance: as in :func:`relative_buckets`.
    """

    def __init__(
        self, heads: int, bidirectional: bool, buckets: int = 32, max_distance: int = 128
    ) -> None:
        super().__init__()
        self.bidirectional, self.max_distance = bidirectional, max_distance
        self.weight = nn.Parameter(torch.zeros(buckets, heads))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Each head looks near by, the later ones ever less strictly.

        What is added falls with the distance from the neighbour on the left (for every other head
        of an encoder, on the right), as in ALiBi (Press et al. 2022): by 2 a position in the first
        heads, by 1/32 in the last ones, and in those between by a geometric sequence. T5 begins
        with random numbers; from them it takes a thousand steps until a head looks at one neighbour
        only, and that is what every other skill builds on.
        """
        if self.weight.is_meta:
            return
        count, heads = self.weight.shape
        distance = torch.arange(-self.max_distance, self.max_distance + 1)
        bucket = relative_buckets(distance, self.bidirectional, count, self.max_distance)
        sides = 2 if self.bidirectional else 1
        last = max((heads - 1) // sides, 1)
        for head in range(heads):
            neighbour = 1 if self.bidirectional and head % 2 else -1
            falls = 2 * 64.0 ** -(head // sides / last)
            off = (distance - neighbour).abs().float()
            for i in bucket.unique().tolist():
                self.weight[i, head] = -falls * off[bucket == i].min()

    def forward(self, length: int, past: int = 0, mask: Tensor | None = None) -> Tensor:
        """The float mask that `vlcourse.layers.attention` takes, from the newest positions to all.

        Args:
            length, past: new positions, and those before them.
            mask: (B, 1, 1, past + length) bool, False where nobody looks.

        Returns:
            (B or 1, heads, length, past + length), -inf where nothing may be seen.
        """
        place = torch.arange(past + length, device=self.weight.device)
        buckets = relative_buckets(
            place - place[past:, None], self.bidirectional, len(self.weight), self.max_distance
        )
        bias = rearrange(F.embedding(buckets, self.weight), "l s h -> 1 h l s")
        if not self.bidirectional and length > 1:
            bias = bias.masked_fill(~masks.causal(length, past, place.device), -math.inf)
        return bias if mask is None else bias.masked_fill(~mask, -math.inf)
