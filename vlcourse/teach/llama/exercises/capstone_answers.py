"""Answers to "llama.model" as students write them, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.cache import LayerCache
from vlcourse.models.llama import LLaMAConfig
from vlcourse.teach.llama.exercises import cached, feed_forward, rope
from vlcourse.teach.mistakes import Mistake

Caches = Sequence[LayerCache]


def _with(slip: str, model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    """The whole, with one mistake or none."""
    past = 0 if slip == "positions" else caches[0].length
    positions = torch.arange(past, past + tokens.shape[1])
    x = model.token(tokens)
    for block, cache in zip(model.blocks, caches, strict=True):
        x = _block(slip, model.config, block, cache, x, positions)
    x = x if slip == "norm_final" else model.norm_final(x)
    return x @ model.token.weight.T if slip == "tied" else model.head(x)


def _block(
    slip: str, config: LLaMAConfig, block: Any, cache: LayerCache, x: Tensor, positions: Tensor
) -> Tensor:
    a, m = block.attention, block.mlp
    h = x if slip in ("norm1", "after") else block.norm1(x)
    y = _attention(slip, config, a, h, cache, positions)
    if slip == "after":
        y = block.norm1(y)
    before = x
    x = y if slip == "first stream" else x + y
    h = before if slip == "parallel" else x
    h = h if slip in ("norm2", "after") else block.norm2(h)
    gate, up = m.gate.weight, m.up.weight
    if slip == "gate and up":
        gate, up = up, gate
    y = feed_forward.swiglu(h, gate, up, m.down.weight)
    if slip == "after":
        y = block.norm2(y)
    return y if slip == "second stream" else x + y


def _attention(
    slip: str, config: LLaMAConfig, a: Any, h: Tensor, cache: LayerCache, positions: Tensor
) -> Tensor:
    heads = "b l (d h) -> b h l d" if slip == "channels first" else "b l (h d) -> b h l d"
    q, k, v = (
        rearrange(linear(h), heads, h=config.heads).contiguous() for linear in (a.q, a.k, a.v)
    )
    if slip != "no rope":
        q = q if slip == "only keys" else rope.rope(q, positions, config.theta)
        k = k if slip == "only queries" else rope.rope(k, positions, config.theta)
        v = rope.rope(v, positions, config.theta) if slip == "values" else v
    y = cached.attend_with_cache(q, k, v, cache)
    y = y.reshape(h.shape) if slip == "merged" else rearrange(y, "b h l d -> b l (h d)")
    return y if slip == "out" else a.out(y)


def _mistake(name: str, slip: str, what: str, hint: str) -> Mistake:
    return Mistake(name, partial(_with, slip), what, hint)


def one_cache(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, [caches[0]] * len(model.blocks))


def new_caches(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, model.new_cache(*tokens.shape).layers)


def probabilities(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, caches).softmax(dim=-1)


@torch.no_grad()
def without_gradient(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, caches)


def by_the_layers(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, caches)


def by_hand(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    """Nothing of the library's layers but their weights; the positions are read in the loop."""
    c, x = model.config, F.embedding(tokens, model.token.weight)

    def normed(x: Tensor, layer: Any) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + layer.eps) * layer.weight

    def split(x: Tensor, weight: Tensor) -> Tensor:
        return (x @ weight.T).unflatten(-1, (c.heads, c.channels)).transpose(1, 2)

    for i, block in enumerate(model.blocks):
        a, m, past, h = block.attention, block.mlp, caches[i].length, normed(x, block.norm1)
        at = torch.arange(tokens.shape[1]) + past
        q, k = (rope.rope(split(h, w.weight), at, c.theta) for w in (a.q, a.k))
        keys, values = caches[i].extend(k, split(h, a.v.weight))
        scores = q @ keys.mT / c.channels**0.5
        unseen = torch.arange(keys.shape[2]) > at[:, None]
        y = scores.masked_fill(unseen, float("-inf")).softmax(-1) @ values
        x = x + y.transpose(1, 2).flatten(2) @ a.out.weight.T
        h = normed(x, block.norm2)
        x = x + (F.silu(h @ m.gate.weight.T) * (h @ m.up.weight.T)) @ m.down.weight.T
    return normed(x, model.norm_final) @ model.head.weight.T


_STREAM = "Both halves of a block are added to what came in: x = x + …"
_PRE_NORM = "Each half normalises what it reads: rms_norm(x, block.norm1.weight, eps) first."
_ROPE = "rope turns the queries and the keys of each head, not the values."
_HEADS = "rearrange(…, 'b l (h d) -> b h l d', h=heads), and 'b h l d -> b l (h d)' on the way back"
MISTAKES = (
    _mistake(
        "positions from 0",
        "positions",
        "the positions begin at 0 although the caches hold a past",
        "past = caches[0].length, read first; then torch.arange(past, past + L).",
    ),
    _mistake("norm1 forgotten", "norm1", "the attention reads x without a norm", _PRE_NORM),
    _mistake("norm2 forgotten", "norm2", "SwiGLU reads x without a norm", _PRE_NORM),
    _mistake(
        "norm after each half",
        "after",
        "the norms come after attention and SwiGLU, not before",
        _PRE_NORM,
    ),
    _mistake(
        "norm_final forgotten",
        "norm_final",
        "model.norm_final is not used",
        "One more norm comes before the head.",
    ),
    _mistake(
        "no residual around the attention", "first stream", "the attention replaces x", _STREAM
    ),
    _mistake("no residual around SwiGLU", "second stream", "SwiGLU replaces x", _STREAM),
    _mistake(
        "both halves side by side",
        "parallel",
        "SwiGLU reads what the attention has read, not what it has written",
        "One after the other: the second half reads x after the attention was added.",
    ),
    _mistake(
        "gate and up exchanged",
        "gate and up",
        "gate and up are exchanged",
        "swiglu(h, gate, up, down): the names of block.mlp, in this order.",
    ),
    _mistake("no rope", "no rope", "nothing is rotated: the order of the words is lost", _ROPE),
    _mistake("only queries rotated", "only queries", "the keys are not rotated", _ROPE),
    _mistake("only keys rotated", "only keys", "the queries are not rotated", _ROPE),
    _mistake("values rotated", "values", "the values are rotated, too", _ROPE),
    _mistake(
        "heads split by every other channel",
        "channels first",
        "a head's channels do not lie side by side",
        _HEADS,
    ),
    _mistake("heads merged without a transpose", "merged", "the heads are merged", _HEADS),
    _mistake(
        "out forgotten",
        "out",
        "attention.out is not used",
        "The heads' results are joined, then block.attention.out mixes them.",
    ),
    _mistake(
        "embeddings as the head",
        "tied",
        "the embeddings serve as the head",
        "This model has a head of its own: model.head.",
    ),
)
