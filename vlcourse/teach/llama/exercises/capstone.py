"""The capstone of the LLaMA lecture: the whole decoder, put together by the student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.layers.cache import LayerCache
from vlcourse.models.llama import LLaMA, LLaMAConfig
from vlcourse.teach import yours
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_close
from vlcourse.teach.llama.exercises import cached, feed_forward, norm, rope
from vlcourse.teach.mistakes import Mistake, expect_right

Caches = Sequence[LayerCache]


def llama_logits(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    """The reference: section 2.2, by the student's functions as far as they passed.

    Args:
        model: a :class:`~vlcourse.models.llama.LLaMA` with as many heads of keys as of queries.
        tokens: (B, L) ids, which come after what the caches hold.
        caches: one for each block.

    Returns:
        (B, L, V) logits of the next token at each position.
    """
    rms_norm = yours.pick("llama.rms_norm", norm.rms_norm)
    swiglu = yours.pick("llama.swiglu", feed_forward.swiglu)
    turn = yours.pick("llama.rope", rope.rope)
    attend = yours.pick("llama.attention_cache", cached.attend_with_cache)
    config, past = model.config, caches[0].length
    positions = torch.arange(past, past + tokens.shape[1], device=tokens.device)
    x = model.token(tokens)  # (B, L, D)
    for block, cache in zip(model.blocks, caches, strict=True):
        a, m = block.attention, block.mlp
        h = rms_norm(x, block.norm1.weight, config.norm_eps)
        q, k, v = (
            rearrange(linear(h), "b l (h d) -> b h l d", h=config.heads)
            for linear in (a.q, a.k, a.v)
        )
        q, k = turn(q, positions, config.theta), turn(k, positions, config.theta)
        x = x + a.out(rearrange(attend(q, k, v, cache), "b h l d -> b l (h d)"))
        h = rms_norm(x, block.norm2.weight, config.norm_eps)
        x = x + swiglu(h, m.gate.weight, m.up.weight, m.down.weight)
    return model.head(rms_norm(x, model.norm_final.weight, config.norm_eps))


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

_SHAPES = (
    LLaMAConfig(11, 16, layers=2, heads=2, hidden=24, theta=500.0, norm_eps=1e-2, context=16),
    LLaMAConfig(13, 12, layers=1, heads=3, hidden=20, context=16),
)
_CUT = "Nothing is learned through .detach(), .item(), float() or no_grad()."


def _check(candidate: Any) -> None:
    for config in _SHAPES:
        model = LLaMA(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.5)
        tokens = torch.randint(config.vocab_size, (2, 6))
        for chunks, told in (
            ((6,), "the logits"),
            ((3, 1, 2), "the logits for chunks of 3, 1 and 2 tokens"),
            ((1,) * 6, "the logits, one token at a time"),
        ):
            expect_right(
                partial(_run, model, tokens, chunks),
                candidate,
                _library,
                MISTAKES,
                told,
                "Compare each line with the figure of the block and the list of names above.",
            )
        _check_gradients(candidate, model, tokens)


def _run(model: Any, tokens: Tensor, chunks: Sequence[int], function: Any) -> Tensor:
    """One text, chunk by chunk; (B, L, V)."""
    caches = model.new_cache(*tokens.shape).layers
    return torch.cat(
        [call(function, model, part, caches) for part in tokens.split(list(chunks), dim=1)], dim=1
    )


def _check_gradients(candidate: Any, model: Any, tokens: Tensor) -> None:
    """Each parameter learns, and what it learns is right."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    logits = candidate(model, tokens, model.new_cache(*tokens.shape).layers)
    expect(logits.requires_grad, "no gradient flows back from the logits", _CUT)
    weights = torch.linspace(-1, 1, logits.numel()).view_as(logits)
    got = torch.autograd.grad((logits * weights).sum(), parameters, allow_unused=True)
    right = torch.autograd.grad((model(tokens) * weights).sum(), parameters)
    for name, found, wanted in zip(names, got, right, strict=True):
        expect(found is not None, f"no gradient reaches model.{name}", _CUT)
        expect_close(found, wanted, f"the gradient at model.{name}", _CUT, rtol=1e-3, atol=1e-3)


def _library(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    """The library's own forward pass over the same caches."""
    cache = model.new_cache(len(tokens), 1)
    cache.layers = list(caches)
    return model(tokens, cache)


def _one_cache(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, [caches[0]] * len(model.blocks))


def _new_caches(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, model.new_cache(*tokens.shape).layers)


def _probabilities(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, caches).softmax(dim=-1)


@torch.no_grad()
def _without_gradient(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, caches)


def _by_the_layers(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    return _with("", model, tokens, caches)


def _by_hand(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
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


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="llama.model",
        title="Your own LLaMA",
        minutes=15,
        difficulty=3,
        reference=llama_logits,
        check=_check,
        hints=(
            "A block: rms_norm, q k v, heads, rope on q and k, attend_with_cache, heads joined, "
            "out, + x; then rms_norm, swiglu, + x. At the end rms_norm and model.head.",
            "past = caches[0].length before the loop; positions = torch.arange(past, past + L).",
            "rearrange(linear(h), 'b l (h d) -> b h l d', h=model.config.heads) makes the heads.",
        ),
        wrong=(
            *(mistake.wrong() for mistake in MISTAKES),
            Wrong("one cache for all blocks", _one_cache, "A block"),
            Wrong("new caches at each call", _new_caches, "figure of the block"),
            Wrong("probabilities for logits", _probabilities, "figure of the block"),
            Wrong("under no_grad", _without_gradient, "no_grad()"),
        ),
        right=(
            Right("by the library's layers", _by_the_layers),
            Right("by hand, positions in the loop", _by_hand),
            Right("the library's own", _library),
        ),
    ),
)


def _losses(function: Callable[..., Tensor], model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    tokens = batch["tokens"]
    return _lm(function(model, tokens, model.new_cache(*tokens.shape).layers), batch)


def _library_losses(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return _lm(model(batch["tokens"]), batch)


def _lm(logits: Tensor, batch: dict[str, Any]) -> dict[str, Any]:
    return {"lm": losses.lm(logits, nn.Identity(), batch["targets"])}


CAPSTONE = yours.Capstone(
    recipe="llm-capstone",
    exercise="llama.model",
    uses=("llama.rms_norm", "llama.swiglu", "llama.rope", "llama.attention_cache"),
    losses=_losses,
    library=_library_losses,
)
