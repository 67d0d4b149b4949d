"""A linear map that reads its matrix once, at the speed of the memory: for decoding on a CPU."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)


class FastLinear(nn.Linear):
    """nn.Linear through oneDNN's kernel where nothing is to be learned: same weights, same names.

    With one row of float32 PyTorch calls BLAS for a matrix–vector product, whose time is that of
    reading the matrix. MKL does it on one thread, at 14 to 20 GB/s on an AMD EPYC; oneDNN does it
    on all: 28 to 34 GB/s on two, where a sum over as many bytes reads 36. Results agree up to
    rounding.

    Everywhere else (gradients, autocast, other types and devices, sharded weights, a PyTorch
    without oneDNN) it is nn.Linear.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        if (
            torch.is_grad_enabled()
            or not input.is_cpu
            or input.dtype != torch.float32
            or self.weight.dtype != torch.float32
            or type(self.weight) is not nn.Parameter
            or torch.is_autocast_enabled("cpu")
        ):
            return F.linear(input, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")


def for_decoding(model: M) -> M:
    """Make every nn.Linear of a model a :class:`FastLinear`, in place; returns the model.

    Parameters, their names and their memory stay as they are, so the model can be trained, sharded
    and saved as before. Subclasses of nn.Linear are left alone.
    """
    if torch.backends.mkldnn.is_available():
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear
    return model
