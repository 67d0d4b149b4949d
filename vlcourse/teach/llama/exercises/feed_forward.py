"""SwiGLU: which branch is the gate, and what happens to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.block import SwiGLU
from vlcourse.teach.checking import Exercise, call
from vlcourse.teach.mistakes import Mistake, expect_right


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The reference: the library's layer (built without memory), with these weights."""
    with torch.device("meta"):
        layer = SwiGLU(x.shape[-1], len(gate))
    weights = {"gate.weight": gate, "up.weight": up, "down.weight": down}
    return torch.func.functional_call(layer, weights, (x,))


def _check(candidate: Any) -> None:
    x, gate, up = torch.randn(2, 3, 6), torch.randn(10, 6), torch.randn(10, 6)
    down = torch.randn(6, 10)
    expect_right(
        lambda f: call(f, x, gate, up, down),
        candidate,
        swiglu,
        MISTAKES,
        "the result",
        "(SiLU(x Wgᵀ) · x Wuᵀ) Wdᵀ, where · multiplies number by number.",
    )


def _on_the_other_branch(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (x @ gate.T * F.silu(x @ up.T)) @ down.T


def _on_both(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.silu(x @ gate.T) * F.silu(x @ up.T)) @ down.T


def _after_the_product(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return F.silu((x @ gate.T) * (x @ up.T)) @ down.T


def _sigmoid(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (torch.sigmoid(x @ gate.T) * (x @ up.T)) @ down.T


def _gelu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.gelu(x @ gate.T) * (x @ up.T)) @ down.T


def _relu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.relu(x @ gate.T) * (x @ up.T)) @ down.T


def _no_activation(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return ((x @ gate.T) * (x @ up.T)) @ down.T


def _added(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.silu(x @ gate.T) + x @ up.T) @ down.T


def _no_up(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return F.silu(x @ gate.T) @ down.T


def _no_gate(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return F.silu(x @ up.T) @ down.T


_BRANCH = "SiLU belongs to the branch that is called gate; the other one stays linear."
_SILU = "SiLU(z) = z · σ(z): in torch F.silu."
_TWO = "Two branches of the hidden size, SiLU(x Wgᵀ) and x Wuᵀ, are multiplied number by number."

MISTAKES = (
    Mistake(
        "SiLU on the wrong branch",
        _on_the_other_branch,
        "SiLU is on the branch `up`",
        _BRANCH,
    ),
    Mistake("SiLU on both branches", _on_both, "SiLU is on both branches", _BRANCH),
    Mistake("SiLU after the product", _after_the_product, "SiLU comes after the product", _BRANCH),
    Mistake(
        "sigmoid",
        _sigmoid,
        "the gate is a sigmoid: that is the original GLU",
        _SILU,
    ),
    Mistake("GELU", _gelu, "the gate is a GELU: that is GEGLU", _SILU),
    Mistake("ReLU", _relu, "the gate is a ReLU: that is ReGLU", _SILU),
    Mistake(
        "no activation",
        _no_activation,
        "no activation is used: that is the bilinear layer",
        _SILU,
    ),
    Mistake("branches added", _added, "the two branches are added", _TWO),
    Mistake("up not used", _no_up, "the branch `up` is not used: a plain MLP", _TWO),
    Mistake("gate not used", _no_gate, "the branch `gate` is not used: a plain MLP", _TWO),
)

EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="llama.swiglu",
        title="SwiGLU, an MLP with a gate",
        minutes=6,
        difficulty=1,
        reference=swiglu,
        check=_check,
        hints=(
            "Three matrix products: two up to the hidden size, side by side, and one down.",
            "The matrices lie as in nn.Linear, (out, in): use the transpose, or F.linear.",
            "return (F.silu(x @ gate.T) * (x @ up.T)) @ down.T",
        ),
        wrong=tuple(mistake.wrong() for mistake in MISTAKES),
    ),
)
