"""Multi-head attention, which all the models share."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers import masks
from vlcourse.layers.cache import LayerCache
from vlcourse.layers.errors import ModelError
from vlcourse.layers.rotary import rotate


def head_channels(width: int, heads: int) -> int:
    """Channels of one head; ModelError unless the heads divide the width."""
    if width % heads:
        raise ModelError(f"width {width} is not divisible by {heads} heads: change one of them")
    return width // heads


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2).

    Queries come from ``x``; keys and values come from ``context``, or from ``x`` itself when there
    is none (self-attention). Query, key and value have a projection each, because later lectures
    share, freeze and adapt them one by one.

    Args:
        width: size D of the input.
        heads: number of heads; must divide ``width``, unless ``head_width`` is given.
        context_width: size of the context's vectors for cross-attention (default ``width``).
        out_width: size of the output (default ``width``).
        kv_heads: heads of the keys and values, each shared by heads / kv_heads queries
            (grouped-query attention, Ainslie et al. 2023; default ``heads``).
        head_width: channels of one head (default ``width / heads``).
        bias: whether the four projections have biases.
        scale: what the dot products are multiplied by (default head_width^-½).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        out_width: int | None = None,
        *,
        kv_heads: int | None = None,
        head_width: int | None = None,
        bias: bool = True,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.scale = heads, kv_heads or heads, scale
        if heads % self.kv_heads:
            raise ModelError(f"{heads} heads cannot share {kv_heads} heads of keys and values")
        self.head_width = head_width or head_channels(width, heads)
        inner, inner_kv = heads * self.head_width, self.kv_heads * self.head_width
        self.q = nn.Linear(width, inner, bias)
        self.k = nn.Linear(context_width or width, inner_kv, bias)
        self.v = nn.Linear(context_width or width, inner_kv, bias)
        self.out = nn.Linear(inner, out_width or width, bias)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, C) → keys and values, (B, kv_heads, S, head_width) each."""
        return _split(self.k(context), self.head_width), _split(self.v(context), self.head_width)

    def forward(
        self,
        x: Tensor,
        context: Tensor | tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        rotation: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: (B, L, D) queries.
            context: (B, S, C) keys and values, or what :meth:`keys_values` made of them; ``x`` when
                None. Of fewer rows, B / r, each is for r rows of ``x`` that follow each other; the
                mask then has a row for each context, and is the same for all positions.
            mask: broadcastable to (B, heads, L, S): bool, True = may attend; or float, added to the
                scaled dot products.
            causal: position i sees positions up to i. Faster than the same mask.
            rotation: turns queries and keys by their positions (:mod:`vlcourse.layers.rotary`).
            cache: the positions before ``x``; those of ``x`` are added to it, and S counts all.

        Returns:
            (B, L, D), or (B, L, out_width).
        """
        q, k, v = self.read(x, context, rotation, cache)
        return self.write(self.mix(q, k, v, mask, causal))

    def read(
        self,
        x: Tensor,
        context: Tensor | tuple[Tensor, Tensor] | None = None,
        rotation: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The first third of :meth:`forward`, whose arguments these are: what is compared.

        Returns:
            Queries (B, heads, L, head_width); keys and values (B, kv_heads, S, head_width), rotated
            and with those of the cache before them.
        """
        q = _split(self.q(x), self.head_width)
        k, v = (
            context
            if isinstance(context, tuple)
            else self.keys_values(x if context is None else context)
        )
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if cache is not None:
            k, v = cache.extend(k, v)
        return q, k, v

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """The second third: softmax(scale · QKᵀ + mask) V, (B, heads, L, head_width).

        The arguments are what :meth:`read` gives, and :meth:`forward`'s.
        """
        length = q.shape[2]
        shared = len(k) < len(q)  # then their texts stand side by side, as if they were one
        if shared:
            q = rearrange(q, "(b r) h l d -> b h (r l) d", b=len(k))
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, scale=self.scale,
            enable_gqa=self.kv_heads != self.heads,
        )  # fmt: skip
        if shared:
            y = rearrange(y, "b h (r l) d -> (b r) h l d", l=length)
        return y

    def write(self, y: Tensor) -> Tensor:
        """The last third: (B, heads, L, head_width) → (B, L, out_width)."""
        return self.out(rearrange(y, "b h l d -> b l (h d)"))

    def weights(
        self,
        x: Tensor,
        context: Tensor | tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        rotation: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Who looks at whom: softmax(scale · QKᵀ + mask), which :meth:`forward` never writes out.

        The arguments are :meth:`forward`'s; a cache is refused.

        Returns:
            (B, heads, L, S); each row sums to 1.
        """
        if cache is not None:
            raise ModelError("attention weights need the whole text at once: leave the cache out")
        context = x if context is None else context
        q = _split(self.q(x), self.head_width)  # (B, heads, L, head_width)
        k, _ = context if isinstance(context, tuple) else self.keys_values(context)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)  # (B, heads, S, head_width)
        scores = q @ k.mT * (self.head_width**-0.5 if self.scale is None else self.scale)
        if causal:
            mask = masks.causal(scores.shape[-1], device=x.device)
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, -math.inf)
        elif mask is not None:
            scores = scores + mask
        return scores.softmax(dim=-1)


def _split(x: Tensor, head_width: int) -> Tensor:
    """(B, L, heads · head_width) → (B, heads, L, head_width)."""
    return rearrange(x, "b l (h d) -> b h l d", d=head_width)
