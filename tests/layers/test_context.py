"""Contexts that several rows look at: the beams of an image share its keys and values."""

from __future__ import annotations

import torch

from vlcourse.layers.attention import Attention
from vlcourse.layers.cache import KVCache


def test_rows_may_share_a_context() -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3, context_width=10)
    x, context = torch.randn(6, 4, 12), torch.randn(2, 5, 10)
    mask = torch.rand(2, 1, 1, 5) > 0.3
    mask[..., 0] = True
    shared = attention(x, attention.keys_values(context), mask)
    apart = attention(x, context.repeat_interleave(3, 0), mask.repeat_interleave(3, 0))
    torch.testing.assert_close(shared, apart)


def test_selected_rows_keep_looking_at_their_own_context() -> None:
    torch.manual_seed(1)
    attention, contexts = Attention(8, 2), torch.randn(3, 5, 8)
    cache = KVCache(1, 3, 2, 4, 4, like=contexts)
    cache.layers[0].context = attention.keys_values(contexts)
    cache.context_mask = torch.rand(3, 1, 1, 5) > 0.5
    cache.context_mask[..., 0] = True
    masks, owners = cache.context_mask, torch.arange(3)
    shared = []
    for rows in (
        [0, 0, 1, 1, 2, 2],  # beams
        [1, 0, 2, 2, 4, 5],  # in another order, some twice, each within its prompt
        [5, 0, 2],  # one of each, in another order
        [1, 1, 0, 0, 2, 2],
        [3, 2],  # a prompt is over
        [1, 1],
    ):
        cache.select(torch.tensor(rows))
        owners = owners[rows]
        x = torch.randn(len(rows), 1, 8)
        found = attention(x, cache.layers[0].context, cache.context_mask)
        expected = attention(x, contexts[owners], masks[owners])
        torch.testing.assert_close(found, expected)
        shared.append(len(cache.layers[0].context[0]) < len(rows))
    assert shared == [True, True, False, False, False, False], shared
