"""Answers to "adapter.model" as students write them, right ones and wrong ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.block import rms_norm
from vlcourse.layers.rotary import rotate, rotations
from vlcourse.teach.adapter.exercises.gated import gated_attention
from vlcourse.teach.mistakes import Mistake


def _with(slip: str, model: Any, tokens: Tensor) -> Tensor:
    """By hand, with one mistake or none."""
    llm, c = model.llm, model.llm.config
    below = c.layers - len(model.layers)
    rotation = rotations(torch.arange(tokens.shape[1]), c.channels, c.theta)
    x = llm.token(tokens)
    for i, (block, own) in enumerate(zip(llm.blocks, model.tuned, strict=True)):

        def linear(name: str, x: Tensor, block: Any = block, own: Any = own) -> Tensor:
            part = block.attention if name in ("q", "k", "v", "out") else block.mlp
            weight, around = getattr(part, name).weight, own.linears[name]
            plain = {"nothing tuned": True, "MLP not tuned": part is block.mlp}.get(slip, False)
            if plain or (slip == "out not tuned" and name == "out"):
                return F.linear(x, weight)
            return around.scale * (F.linear(x, weight) + around.bias)

        def heads(name: str, x: Tensor, linear: Any = linear) -> Tensor:
            return rearrange(linear(name, x), "b l (h d) -> b h l d", h=c.heads)

        def norm(x: Tensor, frozen: Any, shift: Tensor) -> Tensor:
            gain = frozen.weight if slip == "norms not shifted" else frozen.weight + shift
            return rms_norm(x, gain, c.norm_eps)

        h = norm(x, block.norm1, own.norm1.shift)
        q, k, v = heads("q", h), heads("k", h), heads("v", h)
        q = rotate(q, rotation)
        k = k if slip == "keys not turned" else rotate(k, rotation)
        place = i if slip == "prompts at the bottom" else i - below
        if slip == "no prompts" or not 0 <= place < len(model.layers):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            layer = model.layers[place]
            told = layer.prompts[None]
            if slip == "prompts normalised":
                told = norm(told, block.norm1, own.norm1.shift)
            told_k, told_v = heads("k", told), heads("v", told)
            if slip == "prompts not tuned":
                a = block.attention
                told_k, told_v = (
                    rearrange(m(told), "b l (h d) -> b h l d", h=c.heads) for m in (a.k, a.v)
                )
            if slip == "prompts turned":
                told_k = rotate(told_k, rotations(torch.arange(told.shape[1]), c.channels, c.theta))
            gate = layer.gate.value.tanh() if slip == "tanh twice" else layer.gate.value
            y = gated_attention(q, k, v, told_k, told_v, gate)
        y = linear("out", rearrange(y, "b h l d -> b l (h d)"))
        x = y if slip == "no residual" else x + y
        h = norm(x, block.norm2, own.norm2.shift)
        inner = F.silu(linear("gate", h)) * linear("up", h)
        if slip == "gate and up swapped":
            inner = linear("gate", h) * F.silu(linear("up", h))
        x = x + linear("down", inner)
    gain = llm.norm_final.weight
    if slip not in ("norms not shifted", "last norm not shifted"):
        gain = gain + model.norm_final.shift
    if slip == "no last norm":
        return llm.head(x)
    return llm.head(rms_norm(x, gain, c.norm_eps))


def _mistake(name: str, what: str, hint: str) -> Mistake:
    return Mistake(name, partial(_with, name), what, hint)


_ALL = "All seven linear maps of a block: q, k, v, out, gate, up and down."
MISTAKES = (
    _mistake("no prompts", "no block has prompts", "Where i >= below: gated_attention."),
    _mistake(
        "prompts at the bottom",
        "the prompts stand in the lowest blocks",
        "The top ones: model.layers[i - below], where i >= below.",
    ),
    _mistake(
        "prompts normalised",
        "the prompts go through the norm",
        "Prompts are no states: k and v of layer.prompts[None] as they are.",
    ),
    _mistake(
        "prompts turned",
        "the prompts' keys are turned by positions",
        "Prompts have no positions: rotate q and k of the text only.",
    ),
    _mistake(
        "prompts not tuned",
        "the prompts' keys and values come from the bare linear maps",
        f'heads("k", told) and heads("v", told), bias and scale with them. {_ALL}',
    ),
    _mistake("tanh twice", "the gates have two tanhs", "Give layer.gate.value itself."),
    _mistake("nothing tuned", "biases and scales are not used", _ALL),
    _mistake("MLP not tuned", "the MLP's linear maps are bare", _ALL),
    _mistake("out not tuned", "the attention's last linear map is bare", _ALL),
    _mistake(
        "norms not shifted",
        "the norms are the frozen ones",
        "block.norm1.weight + own.norm1.shift, and so norm2 and the last one.",
    ),
    _mistake(
        "last norm not shifted",
        "the last norm is the frozen one",
        "llm.norm_final.weight + model.norm_final.shift.",
    ),
    _mistake("no last norm", "the last norm is missing", "norm_final stands before llm.head."),
    _mistake("keys not turned", "the text's keys are not turned", "rotate(k, rotation)."),
    _mistake("no residual", "the attention's result replaces x", "x = x + …"),
    _mistake(
        "gate and up swapped", "the wrong half goes through silu", "F.silu(gate) * up: lecture 05."
    ),
)

by_hand = partial(_with, "")


def by_pieces(model: Any, tokens: Tensor) -> Tensor:
    """The library's pieces around each block, one after the other."""
    llm, c = model.llm, model.llm.config
    rotation = rotations(torch.arange(tokens.shape[1]), c.channels, c.theta)
    x = llm.token(tokens)
    for block, around in zip(llm.blocks, model.around(), strict=True):
        piece = around(block)
        x = x + piece.attention(piece.norm1(x), causal=True, rotation=rotation)
        x = x + piece.mlp(piece.norm2(x))
    return llm.head(model.norm_final(llm.norm_final, x))


@torch.no_grad()
def without_gradient(model: Any, tokens: Tensor) -> Tensor:
    """Right numbers, nothing learned."""
    return _with("", model, tokens)


def gates_detached(model: Any, tokens: Tensor) -> Tensor:
    """Right numbers, gates that never open."""
    kept = [layer.gate for layer in model.layers]
    try:
        for layer in model.layers:
            layer.gate = _Closed(layer.gate.value.detach())
        return _with("", model, tokens)
    finally:
        for layer, gate in zip(model.layers, kept, strict=True):
            layer.gate = gate


class _Closed(torch.nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value
