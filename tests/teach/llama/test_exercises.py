"""Exercises of the LLaMA lecture: other right answers pass, and the references are the library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.attention import Attention
from vlcourse.layers.cache import LayerCache
from vlcourse.teach.exercise import attempt, find, line
from vlcourse.teach.llama.exercises.cached import attend_with_cache


def gated_by_linear(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    z = F.linear(x, gate)
    return F.linear(F.linear(x, up) * z * z.sigmoid(), down)


def turned_by_loops(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    out = torch.empty_like(x)
    width = x.shape[-1]
    for i, m in enumerate(positions.tolist()):
        for j in range(width // 2):
            angle = m / theta ** (2 * j / width)
            cos, sin = math.cos(angle), math.sin(angle)
            a, b = x[..., i, 2 * j], x[..., i, 2 * j + 1]
            out[..., i, 2 * j], out[..., i, 2 * j + 1] = a * cos - b * sin, a * sin + b * cos
    return out


def attended_by_hand(q: Tensor, k: Tensor, v: Tensor, cache: LayerCache) -> Tensor:
    past, end = cache.length, cache.length + q.shape[2]
    cache.keys[:, :, past:end], cache.values[:, :, past:end] = k, v
    cache.length = end
    scores = torch.einsum("bhld,bhsd->bhls", q, cache.keys[:, :, :end]) / math.sqrt(q.shape[-1])
    late = torch.arange(end) > torch.arange(past, end)[:, None]
    return scores.masked_fill(late, -1e9).softmax(-1) @ cache.values[:, :, :end]


@pytest.mark.parametrize(
    ("id", "answer"),
    [
        ("llama.swiglu", gated_by_linear),
        ("llama.rope", turned_by_loops),
        ("llama.attention_cache", attended_by_hand),
    ],
)
def test_other_right_answers_pass(id: str, answer: Callable[..., Any]) -> None:
    entry = find(id)
    outcome = attempt(entry, answer)
    assert outcome.status == "passed", line(entry, outcome)


def test_attention_of_the_exercise_is_the_layers() -> None:
    layer = Attention(width=8, heads=2)
    x = torch.randn(1, 6, 8)
    q, (k, v) = layer.q(x).unflatten(-1, (2, 4)).transpose(1, 2), layer.keys_values(x)
    cache = LayerCache(torch.empty(1, 2, 6, 4), torch.empty(1, 2, 6, 4))
    parts = [
        attend_with_cache(q[:, :, at], k[:, :, at], v[:, :, at], cache)
        for at in (slice(0, 4), slice(4, 6))
    ]
    y = torch.cat(parts, dim=2).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer.out(y), layer(x, causal=True))
