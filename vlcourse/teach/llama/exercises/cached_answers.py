"""Answers to "llama.attention_cache" as students write them, right ones and wrong ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers import masks
from vlcourse.layers.cache import LayerCache


def attended(q: Tensor, keys: Tensor, values: Tensor, seen: Tensor, dim: int = -1) -> Tensor:
    scores = q @ keys.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(~seen, -math.inf).softmax(dim) @ values


def no_offset(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    keys, values = cache.extend(k, v)
    return F.scaled_dot_product_attention(q, keys, values, is_causal=True)


def offset_read_too_late(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    keys, values = cache.extend(k, v)
    seen = torch.ones(q.shape[2], keys.shape[2], dtype=torch.bool).tril(cache.length)
    return attended(q, keys, values, seen)


def no_mask(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    return F.scaled_dot_product_attention(q, *cache.extend(k, v))


def inverted(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length)
    return attended(q, *cache.extend(k, v), ~seen)


def not_itself(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length).tril(cache.length - 1)
    return attended(q, *cache.extend(k, v), seen)


def not_stored(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past = cache.length
    keys, values = (
        torch.cat([old[:, :, :past], new], dim=2)
        for old, new in ((cache.keys, k), (cache.values, v))
    )
    return attended(q, keys, values, masks.causal(q.shape[2], past))


def stored_twice(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past = cache.length
    keys, values = cache.extend(k, v)[0], cache.extend(k, v)[1][:, :, : past + q.shape[2]]
    return attended(q, keys, values, masks.causal(q.shape[2], past))


def only_the_new_ones(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    cache.extend(k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def only_the_old_ones(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past = cache.length
    cache.extend(k, v)
    keys, values = cache.keys[:, :, :past], cache.values[:, :, :past]
    return attended(q, keys, values, torch.ones(1, 1, dtype=torch.bool)).nan_to_num(0)


def whole_memory(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past, length = cache.length, q.shape[2]
    cache.extend(k, v)
    seen = torch.ones(length, cache.keys.shape[2], dtype=torch.bool).tril(past)
    return attended(q, cache.keys, cache.values, seen)


def not_scaled(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    return sdpa(q * q.shape[-1] ** 0.5, k, v, cache)


def divided_by_the_width(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    return sdpa(q / q.shape[-1] ** 0.5, k, v, cache)


def softmax_over_queries(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length)
    return attended(q, *cache.extend(k, v), seen, dim=-2)


def mask_after_the_softmax(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length)
    keys, values = cache.extend(k, v)
    return (q @ keys.mT / q.shape[-1] ** 0.5).softmax(-1).masked_fill(~seen, 0) @ values


def sdpa(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    seen = masks.causal(q.shape[2], cache.length)
    return F.scaled_dot_product_attention(q, *cache.extend(k, v), attn_mask=seen)


def _scores(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> tuple[Tensor, Tensor, Tensor]:
    seen = masks.causal(q.shape[2], cache.length)
    keys, values = cache.extend(k, v)
    return q @ keys.mT / q.shape[-1] ** 0.5, values, seen


def by_einsum(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past = cache.length
    keys, values = cache.extend(k, v)
    scores = torch.einsum("bhld,bhsd->bhls", q, keys) / math.sqrt(q.shape[-1])
    late = torch.arange(keys.shape[2]) > torch.arange(past, keys.shape[2])[:, None]
    return torch.einsum("bhls,bhsd->bhld", scores.masked_fill(late, -1e9).softmax(-1), values)


def softmax_by_hand(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    scores, values, seen = _scores(q, k, v, cache)
    scores = scores + torch.zeros_like(scores).masked_fill(~seen, -math.inf)
    odds = (scores - scores.amax(-1, keepdim=True)).exp()
    return odds / odds.sum(-1, keepdim=True) @ values


def row_by_row(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past = cache.length
    keys, values = cache.extend(k, v)
    rows = []
    for i in range(q.shape[2]):
        end = past + i + 1
        scores = q[:, :, i : i + 1] @ keys[:, :, :end].mT / math.sqrt(q.shape[-1])
        rows.append(scores.softmax(-1) @ values[:, :, :end])
    return torch.cat(rows, dim=2)


def zero_times_infinity(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    scores, values, seen = _scores(q, k, v, cache)
    return (scores + ~seen * -math.inf).softmax(-1) @ values


def naive_exp(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    scores, values, seen = _scores(q, k, v, cache)
    odds = scores.exp() * seen
    return odds / odds.sum(-1, keepdim=True) @ values


def keys_detached(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    return sdpa(q, k.detach(), v, cache)


@torch.no_grad()
def under_no_grad(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    return sdpa(q, k, v, cache)


def in_float(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    scores, values, seen = _scores(q, k, v, cache)
    return scores.float().masked_fill(~seen, -math.inf).softmax(-1) @ values.float()
