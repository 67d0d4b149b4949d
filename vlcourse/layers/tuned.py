"""What stands around a frozen linear map: a bias and a scale, or a map of low rank."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers.around import LINEARS
from vlcourse.layers.block import rms_norm


class BiasScale(nn.Module):
    """y = s · (W x + b), with b = 0 and s = 1 at the beginning (Gao et al. 2023, equations 1, 2).

    Then it is W x, bit for bit. A released code has the scale on the input instead, W (s · x) + b.

    Args:
        out: size of y.
    """

    def __init__(self, out: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(out))
        self.scale = nn.Parameter(torch.ones(out))

    def forward(self, linear: Any, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        y = linear(x)
        return self.scale.to(y.dtype) * (y + self.bias.to(y.dtype))

    def merged(self, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The weight (out, in) and the bias (out,) of the one linear map that it is.

        Args:
            weight, bias: of the map around which it stands.
        """
        scale, own = self.scale.detach().to(weight.dtype), self.bias.detach().to(weight.dtype)
        return scale[:, None] * weight, scale * (own if bias is None else bias + own)


class LowRank(nn.Module):
    """y = W x + (α / r) · B A x, with B = 0 at the beginning (Hu et al. 2022, "LoRA", section 4.1).

    Args:
        into, out: sizes of x and y.
        rank: r.
        alpha: α.
    """

    def __init__(self, into: int, out: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.factor = alpha / rank
        self.a = nn.Parameter(torch.empty(rank, into))
        self.b = nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as peft draws it

    def forward(self, linear: Any, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        low = F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype))
        return linear(x) + self.factor * low

    def merged(self, weight: Tensor) -> Tensor:
        """The weight (out, in) of the one linear map that it is."""
        return weight + self.factor * (self.b @ self.a).detach().to(weight.dtype)


class NormShift(nn.Module):
    """A frozen RMSNorm whose gains are trained on: they are the old ones and this, 0 at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, norm: Any, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return rms_norm(x, norm.weight + self.shift.to(norm.weight.dtype), norm.eps)


def sizes(config: Any) -> dict[str, tuple[int, int]]:
    """Input and output size of each of a LLaMA block's linear maps, from its config."""
    c = config
    inner, inner_kv = c.heads * c.channels, (c.kv_heads or c.heads) * c.channels
    into = (c.width, c.width, c.width, inner, c.width, c.width, c.ffn)
    out = (inner, inner_kv, inner_kv, c.width, c.ffn, c.ffn, c.width)
    return dict(zip(LINEARS, zip(into, out, strict=True), strict=True))
