"""Causal attention with a cache. With a one in each value's own channel, weights can be read off.

The answer then is the matrix of attention weights: who looks at whom can be said in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers import masks
from vlcourse.layers.cache import LayerCache
from vlcourse.teach.checking import Exercise, Wrong, call, expect, expect_close, expect_shape, fail


def attend_with_cache(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    """The reference: what `vlcourse.layers.attention.Attention` does between its projections."""
    seen, causal = masks.decoder(None, cache.length, q.shape[2], q.device)
    keys, values = cache.extend(k, v)
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=seen, is_causal=causal)


Chunks = Sequence[int]
_NAN = float("nan")
_UPDATE = "Call cache.extend(k, v) once: it stores the new ones and returns all so far."
_OFFSET = (
    "Row i of the mask stands at position past + i: torch.ones(L, past + L).tril(past), with"
    " past = cache.length read before cache.extend."
)
_SCALE = "Divide the dot products by √D, the root of one head's width: math.sqrt(q.shape[-1])."


def _check(candidate: Any) -> None:
    q, k = torch.randn(2, 2, 2, 8, 8)
    v = torch.eye(8).expand(2, 2, 8, 8)
    cut: tuple[Chunks, ...] = ((3, 1, 4), (8,))
    for chunks in cut:
        weights = _run(candidate, q, k, v, chunks)
        _check_who_is_seen(candidate, (q, k, v), chunks, weights)
        _check_weights(weights, q, k)
    q, k, v = torch.randn(3, 1, 3, 5, 4)
    cut = ((5,), (2, 3), (1, 1, 1, 1, 1))
    for chunks in cut:
        expect_close(
            _run(candidate, q, k, v, chunks),
            _run(attend_with_cache, q, k, v, chunks),
            f"the result for {_told(chunks)}",
            "However a text is cut, each position's result is the same.",
        )


def _run(
    function: Callable[..., Any],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    chunks: Chunks,
    memory: float = _NAN,
) -> Tensor:
    """One text, given chunk by chunk to ``function`` with one cache; (B, heads, S, width)."""
    cache = LayerCache(*(torch.full((*t.shape[:2], 10, t.shape[3]), memory) for t in (k, v)))
    parts = []
    for start, length in zip(_starts(chunks), chunks, strict=True):
        end = start + length
        new = [t[:, :, start:end].clone() for t in (q, k, v)]
        out = call(function, *new, cache)
        expect_shape(out, new[2].shape, f"the result for {length} new positions")
        expect(
            cache.length == end,
            f"after {end} positions the cache counts {cache.length}",
            _UPDATE,
        )
        stored = all(
            torch.equal(kept[:, :, :end], given[:, :, :end])
            for kept, given in ((cache.keys, k), (cache.values, v))
        )
        expect(stored, "the cache does not hold the keys and values as they were given", _UPDATE)
        parts.append(out.detach())
    return torch.cat(parts, dim=2)


def _starts(chunks: Chunks) -> list[int]:
    return [sum(chunks[:i]) for i in range(len(chunks))]


def _told(chunks: Chunks) -> str:
    if len(chunks) == 1:
        return f"{chunks[0]} positions at once"
    return f"chunks of {', '.join(map(str, chunks[:-1]))} and {chunks[-1]} positions"


def _check_who_is_seen(
    candidate: Any, text: tuple[Tensor, Tensor, Tensor], chunks: Chunks, weights: Tensor
) -> None:
    """Compare the zeros of the weights with those of a causal mask, and say where they differ."""
    seen = (weights.nan_to_num(0) > 0).any(1).any(0)  # (S, S): by any head of any row
    past_seen, future_seen = seen.tril().any(1), seen.triu(1).any(1)
    if (future_seen & ~past_seen).any():
        fail(
            "the mask is upside down: a position sees only what comes after it",
            "True means may attend: hide the others, scores.masked_fill(~seen, -inf).",
        )
    if weights.isnan().any():
        if not _run(candidate, *text, chunks, memory=0.0).isnan().any():
            fail(
                "memory that nobody has filled yet enters the result",
                "Use the keys and values that cache.extend returns, not cache.keys: they end at"
                " the last position.",
            )
        at = int(weights.isnan().any(3).any(1).any(0).nonzero()[0])
        fail(f"position {at} sees nothing at all and becomes NaN", f"It sees itself. {_OFFSET}")
    for start, length in zip(_starts(chunks), chunks, strict=True):
        for i in range(start, start + length):
            who = f"in {_told(chunks)}, position {i}"
            late = seen[i, i + 1 :].nonzero().flatten().tolist()
            if late:
                fail(f"{who} sees position {i + 1 + late[0]}, which comes after it", _OFFSET)
            missed = (~seen[i, : i + 1]).nonzero().flatten().tolist()
            if missed == list(range(start)) and start:
                fail(
                    f"{who} sees only the new positions, nothing of the cache",
                    "Attend to what cache.extend returns: all keys so far, not only the new ones.",
                )
            if missed == list(range(start, i + 1)):
                fail(f"{who} does not see the new positions, itself included", _UPDATE)
            if missed:
                whom = "itself" if missed[-1] == i else f"position {missed[-1]}"
                fail(f"{who} does not see {whom}", _OFFSET)


def _check_weights(weights: Tensor, q: Tensor, k: Tensor) -> None:
    scores = (q @ k.mT).masked_fill(~masks.causal(q.shape[2]), -math.inf)
    total = weights.sum(-1)
    if not torch.allclose(total, torch.ones_like(total), atol=1e-4):
        fail(
            "the weights of each position should add up to 1, yours give"
            f" {total[0, 0, 0].item():.3g} at position 0 and {total[0, 0, -1].item():.3g} at the"
            " last",
            "Softmax over the keys, the last axis, after the mask: scores.softmax(dim=-1).",
        )
    width = q.shape[-1]
    for what, scale in (
        ("not scaled", 1.0),
        ("divided by D, not by its root", 1 / width),
        ("multiplied by √D", width**0.5),
    ):
        if torch.allclose(weights, (scores * scale).softmax(-1), atol=1e-5):
            fail(f"the dot products are {what}", _SCALE)
    right = (scores / width**0.5).softmax(-1)
    expect_close(weights, right, "the matrix of attention weights", _SCALE)


def _attended(q: Tensor, keys: Tensor, values: Tensor, seen: Tensor, dim: int = -1) -> Tensor:
    scores = q @ keys.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(~seen, -math.inf).softmax(dim) @ values


def _no_offset(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    keys, values = cache.extend(k, v)
    return F.scaled_dot_product_attention(q, keys, values, is_causal=True)


def _offset_read_too_late(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    keys, values = cache.extend(k, v)
    seen = torch.ones(q.shape[2], keys.shape[2], dtype=torch.bool).tril(cache.length)
    return _attended(q, keys, values, seen)


def _no_mask(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    return F.scaled_dot_product_attention(q, *cache.extend(k, v))


def _inverted(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length)
    return _attended(q, *cache.extend(k, v), ~seen)


def _not_itself(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length).tril(cache.length - 1)
    return _attended(q, *cache.extend(k, v), seen)


def _not_stored(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past = cache.length
    keys, values = (
        torch.cat([old[:, :, :past], new], dim=2)
        for old, new in ((cache.keys, k), (cache.values, v))
    )
    return _attended(q, keys, values, masks.causal(q.shape[2], past))


def _stored_twice(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past = cache.length
    keys, values = cache.extend(k, v)[0], cache.extend(k, v)[1][:, :, : past + q.shape[2]]
    return _attended(q, keys, values, masks.causal(q.shape[2], past))


def _only_the_new_ones(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    cache.extend(k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _only_the_old_ones(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past = cache.length
    cache.extend(k, v)
    keys, values = cache.keys[:, :, :past], cache.values[:, :, :past]
    return _attended(q, keys, values, torch.ones(1, 1, dtype=torch.bool)).nan_to_num(0)


def _whole_memory(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past, length = cache.length, q.shape[2]
    cache.extend(k, v)
    seen = torch.ones(length, cache.keys.shape[2], dtype=torch.bool).tril(past)
    return _attended(q, cache.keys, cache.values, seen)


def _not_scaled(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    return attend_with_cache(q * q.shape[-1] ** 0.5, k, v, cache)


def _divided_by_the_width(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    return attend_with_cache(q / q.shape[-1] ** 0.5, k, v, cache)


def _softmax_over_queries(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length)
    return _attended(q, *cache.extend(k, v), seen, dim=-2)


def _mask_after_the_softmax(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length)
    keys, values = cache.extend(k, v)
    return (q @ keys.mT / q.shape[-1] ** 0.5).softmax(-1).masked_fill(~seen, 0) @ values


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="llama.attention_cache",
        title="Causal attention with a cache",
        minutes=12,
        difficulty=3,
        reference=attend_with_cache,
        check=_check,
        hints=(
            "Store the new keys and values, attend to all so far, and hide what comes later.",
            "The first new position stands at past = cache.length: the mask is (L, past + L).",
            "keys, values = cache.extend(k, v); scores = q @ keys.mT / math.sqrt(q.shape[-1]);"
            " seen = torch.ones(L, past + L, dtype=torch.bool).tril(past);"
            " scores.masked_fill(~seen, -math.inf).softmax(-1) @ values",
        ),
        wrong=(
            Wrong("mask without offset", _no_offset, _OFFSET),
            Wrong("offset read after the cache grew", _offset_read_too_late, "read before"),
            Wrong("no mask", _no_mask, "which comes after it"),
            Wrong("mask inverted", _inverted, "upside down"),
            Wrong("a position does not see itself", _not_itself, "It sees itself"),
            Wrong("not stored", _not_stored, _UPDATE),
            Wrong("stored twice", _stored_twice, _UPDATE),
            Wrong("attends to the new ones only", _only_the_new_ones, "not only the new ones"),
            Wrong("attends to the old ones only", _only_the_old_ones, "itself included"),
            Wrong("attends to the whole memory", _whole_memory, "not cache.keys"),
            Wrong("not scaled", _not_scaled, "are not scaled"),
            Wrong("divided by the width", _divided_by_the_width, "divided by D"),
            Wrong("softmax over the queries", _softmax_over_queries, "Softmax over the keys"),
            Wrong("mask after the softmax", _mask_after_the_softmax, "after the mask"),
        ),
    ),
)
