"""Zero-init attention: the text's softmax, the prompts' softmax, and a gate on the second."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from einops import einsum
from torch import Tensor
from torch.nn import functional as F

from vlcourse.teach.checking import (
    Exercise,
    Right,
    Wrong,
    batch_of_one,
    call,
    differentiable,
    expect_close,
    stable,
)
from vlcourse.teach.mistakes import Mistake, expect_right


def gated_attention(
    q: Tensor, k: Tensor, v: Tensor, prompt_k: Tensor, prompt_v: Tensor, gate: Tensor
) -> Tensor:
    """The reference: equations 4 to 7 of the paper.

    Args:
        q, k, v: (B, H, L, d) of the text, turned by their positions; each sees those up to itself.
        prompt_k, prompt_v: (1, H, K, d) of the prompts, the same for all rows.
        gate: (H,) the learned numbers, before the tanh.

    Returns:
        (B, H, L, d).
    """
    rows = len(q)
    prompts = F.scaled_dot_product_attention(
        q, prompt_k.expand(rows, -1, -1, -1), prompt_v.expand(rows, -1, -1, -1)
    )
    text = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return text + gate.tanh()[:, None, None] * prompts


def _scores(q: Tensor, k: Tensor, causal: bool) -> Tensor:
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if not causal:
        return scores
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill(~seen, -math.inf)


def _with(
    slip: str, q: Tensor, k: Tensor, v: Tensor, prompt_k: Tensor, prompt_v: Tensor, gate: Tensor
) -> Tensor:
    """By hand, with one mistake or none."""
    text = _scores(q, k, causal=slip != "sees the future")
    prompts = _scores(q, prompt_k, causal=slip == "prompts masked")
    if slip == "prompts not scaled":
        prompts = prompts * math.sqrt(q.shape[-1])
    g = {"no tanh": gate, "sigmoid": gate.sigmoid()}.get(slip, gate.tanh())[:, None, None]
    if slip == "gate before the softmax":
        return text.softmax(-1) @ v + (g * prompts).softmax(-1) @ prompt_v
    if slip in ("one softmax", "one softmax, gated"):
        shares = torch.cat([prompts, text], dim=-1).softmax(dim=-1)
        told, read = shares.split([prompts.shape[-1], text.shape[-1]], dim=-1)
        return (told if slip == "one softmax" else g * told) @ prompt_v + read @ v
    read, told = text.softmax(-1) @ v, prompts.softmax(-1) @ prompt_v
    if slip == "text gated too":
        return g * (read + told)
    if slip == "a share for each":
        return (1 - g) * read + g * told
    if slip == "one gate for all":
        return read + g.mean() * told
    return read + told if slip == "no gate" else read + g * told


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, partial(_with, slip), what, hint)


_APART = "Two softmaxes: one over the text, one over the prompts; the gate multiplies the second."
_SUM = "text + tanh(gate) · prompts: at gate 0 the text's part must stay whole."
_MISTAKES = (
    _mistake("no gate", "the gate is not used", _SUM),
    _mistake("no tanh", "the gate has no tanh", "gate.tanh(), one number a head."),
    _mistake("sigmoid", "the gate goes through a sigmoid", "A sigmoid of 0 is one half: tanh."),
    _mistake("one gate for all", "all heads have the same gate", "gate.tanh()[:, None, None]."),
    _mistake("sees the future", "the text sees what comes later", "is_causal=True, for the text."),
    _mistake(
        "prompts masked",
        "early words do not see all prompts",
        "No mask over the prompts: every word sees all of them.",
    ),
    _mistake("prompts not scaled", "the prompts' scores are not scaled", "Divide them by √d, too."),
    _mistake("one softmax", "text and prompts share one softmax, without a gate", _APART),
    _mistake("one softmax, gated", "text and prompts share one softmax", _APART),
    _mistake("gate before the softmax", "the gate multiplies scores, not results", _APART),
    _mistake("text gated too", "the gate multiplies the text's part as well", _SUM),
    _mistake("a share for each", "the text's part is multiplied by 1 − gate", _SUM),
)


def _check(candidate: Callable[..., Any]) -> None:
    q, k, v = torch.randn(3, 2, 3, 5, 4).unbind()
    prompt_k, prompt_v = torch.randn(2, 1, 3, 6, 4).unbind()
    gate = torch.tensor([0.7, -1.3, 0.2])
    arguments = (q, k, v, prompt_k, prompt_v, gate)
    expect_right(
        lambda f: call(f, *arguments), candidate, gated_attention, _MISTAKES, "the result", _APART
    )
    closed = candidate(q, k, v, prompt_k, prompt_v, torch.zeros(3))
    alone = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    expect_close(closed, alone, "with all gates 0 the result", _SUM)
    one = "prompt_k has one row for all texts: .expand(len(q), -1, -1, -1), or plain @."
    batch_of_one(candidate, gated_attention, *arguments, hint=one)
    differentiable(candidate, gated_attention, *arguments)
    stable(candidate, gated_attention, *arguments)


def _by_einsum(
    q: Tensor, k: Tensor, v: Tensor, prompt_k: Tensor, prompt_v: Tensor, gate: Tensor
) -> Tensor:
    told = einsum(q, prompt_k[0], "b h l d, h k d -> b h l k") * q.shape[-1] ** -0.5
    told = einsum(told.softmax(-1), prompt_v[0], "b h l k, h k d -> b h l d")
    read = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return read + torch.tanh(gate).view(1, -1, 1, 1) * told


def _head_by_head(
    q: Tensor, k: Tensor, v: Tensor, prompt_k: Tensor, prompt_v: Tensor, gate: Tensor
) -> Tensor:
    found = []
    for h in range(len(gate)):
        read = _scores(q[:, h], k[:, h], causal=True).softmax(-1) @ v[:, h]
        told = _scores(q[:, h], prompt_k[:, h], causal=False).softmax(-1) @ prompt_v[:, h]
        found.append(read + gate[h].tanh() * told)
    return torch.stack(found, dim=1)


def _cut(
    q: Tensor, k: Tensor, v: Tensor, prompt_k: Tensor, prompt_v: Tensor, gate: Tensor
) -> Tensor:
    return gated_attention(q, k, v, prompt_k, prompt_v, gate.detach())


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="adapter.gated_attention",
        title="A softmax of their own",
        minutes=10,
        difficulty=2,
        reference=gated_attention,
        check=_check,
        hints=(
            "Compute two attentions with the same queries, then add them.",
            "F.scaled_dot_product_attention(q, k, v, is_causal=True) is the text's; the prompts' "
            "has no mask. The gate is one number a head: gate.tanh()[:, None, None].",
            "text + gate.tanh()[:, None, None] * F.scaled_dot_product_attention(q, "
            "prompt_k.expand(len(q), -1, -1, -1), prompt_v.expand(len(q), -1, -1, -1)).",
        ),
        wrong=(*(m.wrong() for m in _MISTAKES), Wrong("gate detached", _cut, ".detach()")),
        right=(
            Right("by hand", partial(_with, "")),
            Right("with einsum", _by_einsum),
            Right("head by head", _head_by_head),
        ),
    ),
)
