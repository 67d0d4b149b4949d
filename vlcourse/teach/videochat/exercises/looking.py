"""Global relation aggregation: one token attends to all tokens of all frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.attention import Attention
from vlcourse.models.gmhra import OneAsks
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


def global_attention(attention: Any, token: Tensor, frames: Tensor, shown: Tensor) -> Tensor:
    """The reference: UniFormerV2's equation of the global MHRA.

    Args:
        attention: its linear maps are ``q``, ``k``, ``v`` and ``out``; ``heads`` says how many.
        token: (B, 1, C), the one that asks.
        frames: (B, T, N, C), the tokens of all frames.
        shown: (B, T) bool, False for frames that only fill up the batch.

    Returns:
        (B, 1, C).
    """
    y = frames.flatten(1, 2)  # (B, T · N, C)
    q, k, v = (
        rearrange(linear(x), "b s (h d) -> b h s d", h=attention.heads)
        for linear, x in ((attention.q, token), (attention.k, y), (attention.v, y))
    )
    seen = shown.repeat_interleave(frames.shape[2], dim=1)  # (B, T · N)
    z = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None])
    return attention.out(rearrange(z, "b h 1 d -> b 1 (h d)"))


def _with(slip: str, attention: Any, token: Tensor, frames: Tensor, shown: Tensor) -> Tensor:
    """By hand, with one mistake or none."""
    batch, count, places, width = frames.shape
    heads = 1 if slip == "one head" else attention.heads
    split = "b s (d h) -> b h s d" if slip == "heads interleaved" else "b s (h d) -> b h s d"
    y = frames.reshape(batch, count * places, width)
    seen = repeat(shown, "b t -> b (t n)", n=places)
    if slip == "mask in the wrong order":
        seen = shown.repeat(1, places)
    if slip == "class tokens only":
        y, seen = frames[:, :, 0], shown
    k, v = attention.k(y), attention.v(y)
    if slip == "keys are the values":
        v = k
    q, k, v = (rearrange(x, split, h=heads) for x in (attention.q(token), k, v))
    scores = q @ k.mT  # (B, h, 1, S)
    if slip != "not scaled":
        scores = scores / math.sqrt(k.shape[-1])
    if slip != "no mask":
        scores = scores.masked_fill(~seen[:, None, None], -math.inf)
    if slip == "frame by frame":
        scores = rearrange(scores, "b h q (t n) -> b h q t n", t=count)
        shares = scores.softmax(-1).nan_to_num() / shown.sum(1).view(-1, 1, 1, 1, 1)
        shares = rearrange(shares, "b h q t n -> b h q (t n)")
    elif slip == "mean of all":
        shares = (scores > -math.inf).to(scores)
        shares = shares / shares.sum(-1, keepdim=True)
    else:
        shares = scores.softmax(1 if slip == "softmax over the heads" else -1).nan_to_num()
    z = rearrange(shares @ v, "b h s d -> b s (h d)")
    if slip == "heads interleaved":
        z = rearrange(shares @ v, "b h s d -> b s (d h)")
    if slip == "asks itself":
        z = attention.v(token)
    if slip == "no out":
        return z
    return attention.out(z) + token if slip == "adds the token" else attention.out(z)


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, partial(_with, slip), what, hint)


_ALL = "One softmax over all tokens of all frames: frames.flatten(1, 2), (B, T · N, C)."
_MASK = "shown.repeat_interleave(N, dim=1)[:, None, None] fits scores (B, heads, 1, T · N)."
_HEADS = 'rearrange(x, "b s (h d) -> b h s d", h=attention.heads).'
_MISTAKES = (
    _mistake("no mask", "frames that are not shown are looked at", _MASK),
    _mistake(
        "mask in the wrong order",
        "the mask does not fit the order of the tokens",
        f"All N tokens of the first frame come first. {_MASK}",
    ),
    _mistake("frame by frame", "each frame has a softmax of its own", _ALL),
    _mistake("mean of all", "every token gets the same weight", f"That is pooling. {_ALL}"),
    _mistake("class tokens only", "only the first token of each frame is looked at", _ALL),
    _mistake("softmax over the heads", "the softmax goes over the heads", _ALL),
    _mistake("not scaled", "the scores are not scaled", "Divide by √d, d the channels of a head."),
    _mistake("one head", "there is one head only", _HEADS),
    _mistake("heads interleaved", "the heads' channels are interleaved", _HEADS),
    _mistake("keys are the values", "the keys stand where the values should", "attention.v(y)."),
    _mistake("asks itself", "the token looks at itself", "Keys and values come from the frames."),
    _mistake("no out", "the last linear map is missing", "attention.out at the end."),
    _mistake("adds the token", "the token is added", "Only what was seen: whoever calls adds it."),
)


def _attention(width: int, heads: int) -> Attention:
    found = Attention(width, heads)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.normal_(0, 0.5)
    return found


def _check(candidate: Callable[..., Tensor]) -> None:
    attention = _attention(12, 3)
    token, frames = torch.randn(2, 1, 12), torch.randn(2, 4, 5, 12)
    shown = torch.tensor([[True] * 4, [True, True, False, False]])
    arguments = (attention, token, frames, shown)
    expect_right(
        lambda f: call(f, *arguments), candidate, global_attention, _MISTAKES, "the result", _ALL
    )
    empty = frames.masked_fill(~shown[..., None, None], 7.0)  # what fills up does not matter
    expect_close(
        candidate(attention, token, empty, shown), global_attention(*arguments),
        "with other numbers in frames that are not shown the result", _MASK,
    )  # fmt: skip
    batch_of_one(candidate, global_attention, *arguments)
    differentiable(candidate, global_attention, *arguments)
    stable(candidate, global_attention, *arguments, times=30.0)


def _by_einsum(attention: Any, token: Tensor, frames: Tensor, shown: Tensor) -> Tensor:
    q, k, v = (
        rearrange(linear(x), "... (h d) -> ... h d", h=attention.heads)
        for linear, x in ((attention.q, token[:, 0]), (attention.k, frames), (attention.v, frames))
    )
    scores = einsum(q, k, "b h d, b t n h d -> b h t n") * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~shown[:, None, :, None], -math.inf)
    shares = scores.flatten(2).softmax(dim=-1).view_as(scores)
    z = einsum(shares, v, "b h t n, b t n h d -> b h d")
    return attention.out(z.flatten(1))[:, None]


def _row_by_row(attention: Any, token: Tensor, frames: Tensor, shown: Tensor) -> Tensor:
    rows = []
    for one, video, there in zip(token, frames, shown, strict=True):
        y = video[there].flatten(0, 1)  # only the frames that are shown
        q, k, v = (
            linear(x).unflatten(-1, (attention.heads, -1)).transpose(0, 1)
            for linear, x in ((attention.q, one), (attention.k, y), (attention.v, y))
        )
        z = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v  # (h, 1, d)
        rows.append(attention.out(z.transpose(0, 1).flatten(1)))
    return torch.stack(rows)


def _by_library(attention: Any, token: Tensor, frames: Tensor, shown: Tensor) -> Tensor:
    seen = shown.repeat_interleave(frames.shape[2], dim=1)
    return OneAsks.forward(attention, token, frames.flatten(1, 2), seen[:, None, None])


def _cut(attention: Any, token: Tensor, frames: Tensor, shown: Tensor) -> Tensor:
    return global_attention(attention, token, frames.detach(), shown)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="videochat.global_attention",
        title="One token sees all frames",
        minutes=10,
        difficulty=2,
        reference=global_attention,
        check=_check,
        hints=(
            "It is cross-attention with a single query; first make one row of tokens of all "
            "frames: frames.flatten(1, 2).",
            "A mask (B, 1, 1, T · N): shown.repeat_interleave(N, dim=1)[:, None, None].",
            'Split q, k, v by rearrange(x, "b s (h d) -> b h s d", h=attention.heads); z = '
            "F.scaled_dot_product_attention(q, k, v, attn_mask=mask); attention.out(rearrange(z, "
            '"b h 1 d -> b 1 (h d)")).',
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("frames detached", _cut, ".detach()"),
            Wrong("squeezed", lambda *a: global_attention(*a)[:, 0], "One softmax over all"),
        ),
        right=(
            Right("by hand", partial(_with, "")),
            Right("by einsum", _by_einsum),
            Right("row by row", _row_by_row),
            Right("without keys and values", _by_library),
        ),
    ),
)
