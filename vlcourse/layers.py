"""The layers that several papers share: multi-head attention, the MLP, and the pre-norm block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vlcourse.cache import LayerCache
from vlcourse.rotary import rotate


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
        if head_width is None and width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads: change one of them")
        if heads % self.kv_heads:
            raise ValueError(f"{heads} heads cannot share {kv_heads} heads of keys and values")
        self.head_width = head_width or width // heads
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
                None.
            mask: broadcastable to (B, heads, L, S): bool, True = may attend; or float, added to the
                scaled dot products.
            causal: position i sees positions up to i. Faster than the same mask.
            rotation: turns queries and keys by their positions (:mod:`vlcourse.rotary`).
            cache: the positions before ``x``; those of ``x`` are added to it, and S counts all.

        Returns:
            (B, L, D), or (B, L, out_width).
        """
        q = _split(self.q(x), self.head_width)  # (B, heads, L, head_width)
        k, v = (
            context
            if isinstance(context, tuple)
            else self.keys_values(x if context is None else context)
        )
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if cache is not None:
            k, v = cache.extend(k, v)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, scale=self.scale,
            enable_gqa=self.kv_heads != self.heads,
        )  # fmt: skip
        return self.out(rearrange(y, "b h l d -> b l (h d)"))


def _split(x: Tensor, head_width: int) -> Tensor:
    """(B, L, heads · head_width) → (B, heads, L, head_width)."""
    return rearrange(x, "b l (h d) -> b h l d", d=head_width)


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


class RMSNorm(nn.Module):
    """x / RMS(x) · weight: LayerNorm without the mean and the bias (Zhang and Sennrich 2019).

    As LLaMA has it: divided in float32, cast back, then multiplied by the weight.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return F.rms_norm(x.float(), (x.shape[-1],), None, self.eps).type_as(x) * self.weight


class SwiGLU(nn.Module):
    """down(SiLU(gate(x)) · up(x)): an MLP with a gate, without biases (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


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
