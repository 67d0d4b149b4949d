"""The pre-norm Transformer block, and the norms and MLPs that several papers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vlcourse.layers.errors import ModelError
from vlcourse.names import no_such


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


def activation_called(name: str) -> Callable[[Tensor], Tensor]:
    """The non-linearity of that name; ModelError when there is none."""
    if name not in ACTIVATIONS:
        raise ModelError(no_such("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]


class MLP(nn.Module):
    """Two linear maps with a non-linearity between them, applied to each position alone."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu") -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.activation = activation_called(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return self.down(self.activation(self.up(x)))


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / RMS(x) · weight: LayerNorm without the mean and the bias (Zhang and Sennrich 2019).

    As LLaMA has it: divided in float32, cast back, then multiplied by the weight.

    Args:
        x: (…, D) vectors, each normalised alone.
        weight: (D,), of x's type.
        eps: added to the mean square, under the root.

    Returns:
        (…, D), of x's type.
    """
    return F.rms_norm(x.float(), (x.shape[-1],), None, eps).type_as(x) * weight


class RMSNorm(nn.Module):
    """`rms_norm` with a learned weight."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return rms_norm(x, self.weight, self.eps)


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """(SiLU(x gateᵀ) · x upᵀ) downᵀ (Shazeer 2020).

    Args:
        x: (…, D).
        gate, up: (H, D).
        down: (D, H).

    Returns:
        (…, D).
    """
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


class SwiGLU(nn.Module):
    """down(SiLU(gate(x)) · up(x)): an MLP with a gate, without biases (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D): :func:`swiglu`, through maps that an adapter may have changed."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """A pre-norm Transformer block: x + attention(LN(x)), then x + mlp(LN(x)).

    Args:
        width: size D of the token vectors.
        attention: ``attention(x, mask=…, causal=…)``, (B, L, D) → (B, L, D): an
            :class:`~vlcourse.layers.attention.Attention`, or a class around one.
        mlp: (B, L, D) → (B, L, D).
        norm_eps: added to the variance in LayerNorm.
    """

    def __init__(
        self, width: int, attention: nn.Module, mlp: nn.Module, norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = attention
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = mlp

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, L, D) → (B, L, D); ``mask`` and ``causal`` as the attention takes them."""
        x = x + self.attention(self.norm1(x), mask=mask, causal=causal)
        return x + self.mlp(self.norm2(x))
