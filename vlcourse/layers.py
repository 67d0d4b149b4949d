"""The layers that several papers share: multi-head attention, the MLP, and the pre-norm block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _QuickGELU(torch.autograd.Function):
    """With z = 1.702 x it is SiLU(z) / 1.702, so its derivative is SiLU'(z): one kernel, one save.

    Written out as x · σ(1.702 x), autograd keeps three tensors and makes five passes backward.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        z = 1.702 * x
        ctx.save_for_backward(z)
        return F.silu(z).mul_(1 / 1.702)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad, z)


def quick_gelu(x: Tensor) -> Tensor:
    """x · σ(1.702 x): the approximation of GELU that OpenAI's CLIP weights were trained with."""
    return _QuickGELU.apply(x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2).

    Queries come from ``x``; keys and values come from ``context``, or from ``x`` itself when there
    is none (self-attention). Query, key and value have a projection each, because later lectures
    share, freeze and adapt them one by one.

    Args:
        width: size D of the input.
        heads: number of heads; must divide ``width``.
        context_width: size of the context's vectors for cross-attention (default ``width``).
        out_width: size of the output (default ``width``).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        out_width: int | None = None,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads: change one of them")
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(context_width or width, width)
        self.v = nn.Linear(context_width or width, width)
        self.out = nn.Linear(width, out_width or width)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Attend.

        Args:
            x: (B, L, D) queries.
            context: (B, S, C) keys and values; ``x`` when None.
            mask: bool, broadcastable to (B, heads, L, S); True = may attend.
            causal: position i sees positions up to i. Faster than the same mask.

        Returns:
            (B, L, D), or (B, L, out_width).
        """
        source = x if context is None else context
        q, k, v = (
            rearrange(t, "b l (h d) -> b h l d", h=self.heads)  # (B, heads, L or S, D / heads)
            for t in (self.q(x), self.k(source), self.v(source))
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out(rearrange(y, "b h l d -> b l (h d)"))


class MLP(nn.Module):
    """Two linear maps with a non-linearity between them, applied to each position alone."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is not one of {sorted(ACTIVATIONS)}")
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """A pre-norm Transformer block: x + Attention(LN(x)), then x + MLP(LN(x))."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_hidden: int,
        activation: str = "gelu",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = MLP(width, mlp_hidden, activation)

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, L, D) → (B, L, D); ``mask`` and ``causal`` as in :class:`Attention`."""
        x = x + self.attention(self.norm1(x), mask=mask, causal=causal)
        return x + self.mlp(self.norm2(x))
