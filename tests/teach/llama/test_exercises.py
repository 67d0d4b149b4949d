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
from vlcourse.layers.block import SwiGLU
from vlcourse.layers.cache import LayerCache
from vlcourse.teach.exercise import attempt, find, line
from vlcourse.teach.llama.exercises.cached import attend_with_cache
from vlcourse.tokenizers.byte_bpe import merge


def norm_by_torch(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * F.rms_norm(x.float(), x.shape[-1:], eps=eps).to(x.dtype)


def norm_in_double(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.double()
    root = ((wide**2).sum(-1, keepdim=True) / x.shape[-1] + eps) ** 0.5
    return (wide / root).to(x.dtype) * weight


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


def nucleus_from_below(logits: Tensor, p: float) -> Tensor:
    shares, order = logits.softmax(-1).sort(dim=-1)  # the tail that holds at most 1 - p goes
    dropped = shares.cumsum(-1) <= 1 - p
    return logits.masked_fill(dropped.scatter(-1, order, dropped), -math.inf)


def nucleus_by_threshold(logits: Tensor, p: float) -> Tensor:
    shares = logits.softmax(-1)
    before = (shares[..., None, :] * (shares[..., None, :] > shares[..., None])).sum(-1)
    return torch.where(before < p, logits, torch.tensor(-math.inf))


def pieces_everywhere_at_once(text: str, scores: dict[str, float]) -> list[str]:
    symbols = tuple("▁" + text.replace(" ", "▁"))
    while pairs := [p for p in zip(symbols, symbols[1:], strict=False) if "".join(p) in scores]:
        symbols = merge(symbols, max(pairs, key=lambda p: scores["".join(p)]))
    return [
        piece
        for s in symbols
        for piece in ([s] if s in scores else [f"<0x{b:02X}>" for b in s.encode("utf-8")])
    ]


@pytest.mark.parametrize(
    ("id", "answer"),
    [
        ("llama.rms_norm", norm_by_torch),
        ("llama.rms_norm", norm_in_double),
        ("llama.swiglu", gated_by_linear),
        ("llama.rope", turned_by_loops),
        ("llama.attention_cache", attended_by_hand),
        ("llama.top_p", nucleus_from_below),
        ("llama.top_p", nucleus_by_threshold),
        ("llama.bpe", pieces_everywhere_at_once),
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


def test_swiglu_of_the_exercise_is_the_layers_bit_for_bit() -> None:
    layer, x = SwiGLU(width=8, hidden=24), torch.randn(3, 8)
    weights = layer.gate.weight, layer.up.weight, layer.down.weight
    assert torch.equal(find("llama.swiglu").reference(x, *weights), layer(x))
