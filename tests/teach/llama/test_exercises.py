"""Exercises of the LLaMA lecture: other right answers pass, and the references are the library."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.generate.sampling import top_p_filter
from vlcourse.layers.attention import Attention
from vlcourse.layers.block import RMSNorm, SwiGLU
from vlcourse.layers.cache import LayerCache
from vlcourse.teach.checking import Right
from vlcourse.teach.exercise import attempt, find, line
from vlcourse.teach.llama.exercises import norm
from vlcourse.teach.llama.exercises.cached import attend_with_cache
from vlcourse.teach.llama.exercises.pieces import encode_bpe


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


def test_norm_of_the_exercise_is_the_layers_bit_for_bit() -> None:
    layer = RMSNorm(8, eps=1e-3)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5)
    for x in (torch.randn(2, 3, 8), torch.randn(5, 8), 3 * torch.randn(2, 2, 3, 8)):
        assert torch.equal(norm.rms_norm(x, layer.weight, 1e-3), layer(x))
        half, weight = x.bfloat16(), layer.weight.bfloat16()
        right = (
            half.float() / (half.float().square().mean(-1, keepdim=True) + 1e-3).sqrt()
        ).bfloat16()
        assert ((norm.rms_norm(half, weight, 1e-3) == right * weight).float().mean() > 0.99).item()


@pytest.mark.parametrize("right", find("llama.bpe").right, ids=lambda right: right.name)
def test_right_pieces_are_the_tokenizers_on_texts_with_ties_and_unknown_letters(
    right: Right,
) -> None:
    """Texts of few letters, so that pairs overlap and compete, more than the check tries."""
    rng = random.Random(0)
    table = ["aa", "▁a", "ab", "aab", "ba", "▁ab", "a▁", "▁▁", "baa", *"▁ab"]
    for _ in range(200):
        text = "".join(rng.choices("aaab ç", k=rng.randint(1, 12)))
        scores = {piece: -float(i) for i, piece in enumerate(table)}
        assert right.function(text, scores) == encode_bpe(text, scores)


@pytest.mark.parametrize("right", find("llama.top_p").right, ids=lambda right: right.name)
def test_right_nuclei_are_the_librarys_on_many_rows(right: Right) -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(3, 20, 50)
    for p in (0.1, 0.5, 0.9, 1.0):
        assert torch.equal(right.function(logits, p), top_p_filter(logits, p))


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


def test_swiglu_of_the_exercise_is_the_layers_bit_for_bit() -> None:
    layer, x = SwiGLU(width=8, hidden=24), torch.randn(3, 8)
    weights = layer.gate.weight, layer.up.weight, layer.down.weight
    assert torch.equal(find("llama.swiglu").reference(x, *weights), layer(x))
