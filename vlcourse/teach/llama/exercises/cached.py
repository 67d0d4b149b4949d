"""Causal attention with a cache. With a one in each value's own channel, weights can be read off.

The answer then is the matrix of attention weights: who looks at whom can be said in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers import masks
from vlcourse.layers.cache import LayerCache
from vlcourse.teach.checking import (
    CUT,
    Exercise,
    Right,
    Wrong,
    call,
    differentiable,
    expect,
    expect_close,
    expect_shape,
    fail,
    same_dtype,
)
from vlcourse.teach.llama.exercises import cached_answers as answers


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
_SCALE = "Divide the dot products by √d_h, the root of one head's width: math.sqrt(q.shape[-1])."


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
    for shape in ((2, 3, 5, 4), (1, 1, 5, 4)):
        q, k, v = torch.randn(3, *shape)
        mine, right = (partial(_at_once, f) for f in (candidate, attend_with_cache))
        differentiable(mine, right, q, k, v)
        expect_close(
            mine(8 * q, 8 * k, v),
            right(8 * q, 8 * k, v),
            "the result for large scores",
            _OVERFLOW,
            atol=1e-3,
        )
        same_dtype(mine, q, k, v, dtypes=(torch.bfloat16, torch.float64))


_OVERFLOW = "exp of a large score is infinite: scores.softmax(-1) subtracts the largest first."
_ZERO = "0 · (-∞) is NaN: no multiplication, but scores.masked_fill(~seen, -math.inf)."


def _at_once(function: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor) -> Any:
    """The whole text in one call, with a new cache."""
    return call(function, q, k, v, LayerCache(torch.zeros_like(k), torch.zeros_like(v)))


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
        if weights.isnan().all():
            fail("every result is NaN", _ZERO)
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
        ("divided by d_h, not by its root", 1 / width),
        ("multiplied by √d_h", width**0.5),
    ):
        if torch.allclose(weights, (scores * scale).softmax(-1), atol=1e-5):
            fail(f"the dot products are {what}", _SCALE)
    right = (scores / width**0.5).softmax(-1)
    expect_close(weights, right, "the matrix of attention weights", _SCALE)


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
            Wrong("mask without offset", answers.no_offset, _OFFSET),
            Wrong("offset read after the cache grew", answers.offset_read_too_late, "read before"),
            Wrong("no mask", answers.no_mask, "which comes after it"),
            Wrong("mask inverted", answers.inverted, "upside down"),
            Wrong("a position does not see itself", answers.not_itself, "It sees itself"),
            Wrong("not stored", answers.not_stored, _UPDATE),
            Wrong("stored twice", answers.stored_twice, _UPDATE),
            Wrong("the new ones only", answers.only_the_new_ones, "not only the new ones"),
            Wrong("attends to the old ones only", answers.only_the_old_ones, "itself included"),
            Wrong("attends to the whole memory", answers.whole_memory, "not cache.keys"),
            Wrong("not scaled", answers.not_scaled, "are not scaled"),
            Wrong("divided by the width", answers.divided_by_the_width, "divided by d_h"),
            Wrong("softmax over queries", answers.softmax_over_queries, "Softmax over the keys"),
            Wrong("mask after the softmax", answers.mask_after_the_softmax, "after the mask"),
            Wrong("mask times -inf", answers.zero_times_infinity, _ZERO),
            Wrong("exp and sum by hand", answers.naive_exp, _OVERFLOW),
            Wrong("keys detached", answers.keys_detached, CUT),
            Wrong("under no_grad", answers.under_no_grad, CUT),
            Wrong("in float32", answers.in_float, "float32 for arguments in bfloat16"),
        ),
        right=(
            Right("the library's call, own mask", answers.sdpa),
            Right("einsum and -1e9", answers.by_einsum),
            Right("softmax by hand", answers.softmax_by_hand),
            Right("row by row, without a mask", answers.row_by_row),
        ),
    ),
)
