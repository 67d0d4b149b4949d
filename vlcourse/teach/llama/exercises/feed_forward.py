"""SwiGLU: which branch is the gate, and what happens to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.block import swiglu
from vlcourse.teach.checking import (
    Exercise,
    Right,
    Wrong,
    call,
    differentiable,
    same_dtype,
    stable,
)
from vlcourse.teach.mistakes import Mistake, expect_right

_OVERFLOW = (
    "exp of a large number is infinite, and ∞ / ∞ or 0 · ∞ is NaN: F.silu(z), or"
    " z * torch.sigmoid(z), knows that."
)
_TYPE = "Weights and x have one type; do not convert with .float(), the result has it, too."


def _check(candidate: Any) -> None:
    gate, up, down = torch.randn(10, 6), torch.randn(10, 6), torch.randn(6, 10)
    for shape in ((2, 3, 6), (3, 6), (1, 1, 6), (6,), (2, 2, 3, 6)):
        x = torch.randn(shape)
        expect_right(
            partial(_run, (x, gate, up, down)),
            candidate,
            swiglu,
            MISTAKES,
            f"the result for x of shape {shape}",
            "(SiLU(x Wgᵀ) · x Wuᵀ) Wdᵀ, where · multiplies number by number.",
        )
    x = torch.randn(2, 3, 6)

    def mine(x: Tensor) -> Any:
        return candidate(x, gate, up, down)

    def right(x: Tensor) -> Tensor:
        return swiglu(x, gate, up, down)

    differentiable(candidate, swiglu, x, gate, up, down)
    stable(mine, right, x, times=50, hint=_OVERFLOW)
    differentiable(mine, right, 50 * x, what="the result for large x", hint=_OVERFLOW)
    same_dtype(candidate, x, gate, up, down, hint=_TYPE)


def _run(arguments: Sequence[Tensor], function: Any) -> Tensor:
    return call(function, *arguments)


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


def _softmax(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return ((x @ gate.T).softmax(-1) * (x @ up.T)) @ down.T


def _tanh(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (torch.tanh(x @ gate.T) * (x @ up.T)) @ down.T


def _exp_above(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    z = x @ gate.T
    return (z * z.exp() / (1 + z.exp()) * (x @ up.T)) @ down.T


def _exp_below(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    z = x @ gate.T
    return (z / (1 + (-z).exp()) * (x @ up.T)) @ down.T


def _gate_detached(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.silu(x @ gate.T).detach() * (x @ up.T)) @ down.T


def _of_the_data(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return swiglu(x, gate.data, up.data, down.data)


def _in_float(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return swiglu(x.float(), gate.float(), up.float(), down.float())


def _not_transposed(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.silu(x @ gate) * (x @ up)) @ down


def _three_axes_only(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    z, y = (torch.einsum("bld,hd->blh", x, w) for w in (gate, up))
    return torch.einsum("blh,dh->bld", F.silu(z) * y, down)


def _new_layers(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    layers = [torch.nn.Linear(w.shape[1], w.shape[0], bias=False) for w in (gate, up, down)]
    for layer, w in zip(layers, (gate, up, down), strict=True):
        layer.weight.data = w
    return layers[2](F.silu(layers[0](x)) * layers[1](x))


def _by_linear(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    z = F.linear(x, gate)
    return F.linear(F.linear(x, up) * z * z.sigmoid(), down)


def _by_einsum(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    z, y = torch.einsum("...d,hd->...h", x, gate), torch.einsum("...d,hd->...h", x, up)
    return torch.einsum("...h,dh->...d", F.silu(z) * y, down)


def _at_once(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    z, y = (x @ torch.cat([gate, up]).T).chunk(2, dim=-1)
    return (F.silu(z) * y) @ down.mT


def _neuron_by_neuron(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for g, u, d in zip(gate, up, down.T, strict=True):
        z = (x * g).sum(-1, keepdim=True)
        out = out + z * torch.sigmoid(z) * (x * u).sum(-1, keepdim=True) * d
    return out


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
    Mistake("tanh", _tanh, "the gate is a tanh", _SILU),
    Mistake(
        "softmax",
        _softmax,
        "the gate is a softmax: the neurons compete",
        _SILU,
    ),
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
        wrong=(
            *(mistake.wrong() for mistake in MISTAKES),
            Wrong("exp above and below", _exp_above, "∞ / ∞"),
            Wrong("exp below, its gradient", _exp_below, "0 · ∞ is NaN"),
            Wrong("the gate detached", _gate_detached, "the gradient at `x`"),
            Wrong("of .data", _of_the_data, "no gradient reaches `gate`"),
            Wrong("new layers", _new_layers, "no gradient reaches `gate`"),
            Wrong("in float32", _in_float, "float32 for arguments in bfloat16"),
            Wrong("not transposed", _not_transposed, "needs equal inner sizes"),
            Wrong("three axes only", _three_axes_only, "your code stops at"),
        ),
        right=(
            Right("F.linear and a sigmoid", _by_linear),
            Right("einsum", _by_einsum),
            Right("both branches in one product", _at_once),
            Right("neuron by neuron", _neuron_by_neuron),
        ),
    ),
)
