"""The cross-attention block: the text asks, the image answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from vlcourse.layers.attention import Attention
from vlcourse.models import med_parts
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_close, expect_shape
from vlcourse.teach.mistakes import Mistake, expect_right


def cross_block(x: Tensor, seen: Tensor, attention: Any, norm: Any) -> Tensor:
    """The reference: the library's own."""
    return med_parts.cross_block(x, seen, attention, norm)


def _with(slip: str, x: Tensor, seen: Tensor, attention: Any, norm: Any) -> Tensor:
    """The whole by hand, with one mistake or none."""
    heads = 1 if slip == "one head" else attention.heads
    asks = norm(x) if slip == "pre-norm" else x
    sources = {"q": asks, "k": seen, "v": seen}
    if slip == "roles swapped":
        sources = {"q": seen, "k": asks, "v": asks}
    if slip == "self-attention":
        sources = {"q": asks, "k": asks, "v": asks}
    if slip == "values of the text":
        sources["v"] = asks
    q, k, v = (
        rearrange(getattr(attention, name)(each), "b l (h d) -> b h l d", h=heads)
        for name, each in sources.items()
    )
    channels = q.shape[-1] * (attention.heads if slip == "width" else 1)
    scores = q @ k.mT / (1 if slip == "no root" else math.sqrt(channels))
    weights = scores.softmax(dim=-2 if slip == "over the queries" else -1)
    heard = rearrange(weights @ v, "b h l d -> b l (h d)")
    if slip != "no output matrix":
        heard = attention.out(heard)
    added = heard if slip == "no residual" else x + heard
    if slip == "norm before the sum":
        return x + norm(heard)
    return added if slip in ("no norm", "pre-norm") else norm(added)


def _mistake(name: str, slip: str, what: str, hint: str) -> Mistake:
    return Mistake(name, partial(_with, slip), what, hint)


_ASKS = "Queries come from the text x; keys and values from what is seen."
_POST = "BERT is post-norm: norm(x + what was heard)."
_MISTAKES = (
    _mistake(
        "residual forgotten",
        "no residual",
        "what the text said before is lost",
        "Add what was heard to x before the norm.",
    ),
    _mistake("norm forgotten", "no norm", "the sum is not normalised", _POST),
    _mistake("pre-norm", "pre-norm", "the norm comes before the attention, as in CLIP", _POST),
    _mistake(
        "norm before the sum",
        "norm before the sum",
        "only what was heard is normalised, not the sum",
        _POST,
    ),
    _mistake("self-attention", "self-attention", "the text looks at itself", _ASKS),
    _mistake("roles swapped", "roles swapped", "the image asks and the text answers", _ASKS),
    _mistake(
        "values of the text", "values of the text", "the values come from the text, too", _ASKS
    ),
    _mistake(
        "one head",
        "one head",
        "all channels are one head",
        "Split each of the three into attention.heads parts: rearrange(q, 'b l (h d) -> b h l d').",
    ),
    _mistake(
        "root forgotten",
        "no root",
        "the scores are not divided by √d",
        "Divide q @ k.mT by the square root of a head's channels, q.shape[-1].",
    ),
    _mistake(
        "root of the width",
        "width",
        "the scores are divided by the root of the whole width",
        "d is what one head has: q.shape[-1] after the split.",
    ),
    _mistake(
        "softmax over the queries",
        "over the queries",
        "the softmax runs over the text's positions",
        "Each text token shares its attention among the image tokens: softmax(dim=-1).",
    ),
    _mistake(
        "output matrix forgotten",
        "no output matrix",
        "attention.out is not used",
        "The heads are put together again and go through attention.out.",
    ),
)


def _parts(width: int, heads: int, context: int) -> tuple[Attention, nn.LayerNorm]:
    """An attention and a norm none of whose numbers is 0 or 1 by its initialisation."""
    attention, norm = Attention(width, heads, context_width=context), nn.LayerNorm(width, 1e-12)
    with torch.no_grad():
        for parameter in (*attention.parameters(), *norm.parameters()):
            parameter.normal_(0.5 if parameter.ndim == 1 else 0.0, 0.5)
    return attention, norm


def _check(candidate: Callable[..., Any]) -> None:
    # As many image tokens as words and one width, so that mistakes are told in words.
    x, seen = torch.randn(3, 5, 8), torch.randn(3, 5, 8)
    attention, norm = _parts(8, 2, 8)
    shape = "One vector for each word comes out, as it went in: the shape of x."
    expect_shape(call(candidate, x, seen, attention, norm), (3, 5, 8), "the result", shape)

    def run(function: Callable[..., Any]) -> Any:
        return function(x, seen, attention, norm)

    expect_right(run, candidate, cross_block, _MISTAKES, "the result", _ASKS)
    x, seen = torch.randn(2, 3, 12), torch.randn(2, 7, 10)
    attention, norm = _parts(12, 3, 10)
    arguments = x, seen, attention, norm
    expect_close(
        candidate(*arguments), cross_block(*arguments), "the result for another width", _ASKS
    )
    checking.batch_of_one(candidate, cross_block, *arguments, what="the result")
    checking.differentiable(candidate, cross_block, *arguments, what="the result")


def _not_split_back(x: Tensor, seen: Tensor, attention: Any, norm: Any) -> Tensor:
    q, k, v = attention.q(x), attention.k(seen), attention.v(seen)
    q, k, v = (rearrange(t, "b l (h d) -> b h l d", h=attention.heads) for t in (q, k, v))
    heard = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v  # (B, heads, L, d)
    return norm(x + attention.out(heard.reshape(len(x), x.shape[1], -1)))


def _image_detached(x: Tensor, seen: Tensor, attention: Any, norm: Any) -> Tensor:
    return cross_block(x, seen.detach(), attention, norm)


def _of_the_image(x: Tensor, seen: Tensor, attention: Any, norm: Any) -> Tensor:
    return cross_block(x, seen, attention, norm).mean(dim=1)


def _fused(x: Tensor, seen: Tensor, attention: Any, norm: Any) -> Tensor:
    q, k, v = attention.q(x), attention.k(seen), attention.v(seen)
    q, k, v = (t.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for t in (q, k, v))
    heard = nn.functional.scaled_dot_product_attention(q, k, v)
    return norm(x + attention.out(heard.transpose(1, 2).flatten(2)))


def _einsum(x: Tensor, seen: Tensor, attention: Any, norm: Any) -> Tensor:
    q, k, v = (
        layer(each).unflatten(-1, (attention.heads, -1))
        for layer, each in ((attention.q, x), (attention.k, seen), (attention.v, seen))
    )  # (B, L or N, heads, d)
    scores = torch.einsum("blhd,bnhd->bhln", q * q.shape[-1] ** -0.5, k)
    heard = torch.einsum("bhln,bnhd->blhd", scores.softmax(dim=-1), v)
    return norm(attention.out(heard.flatten(2)) + x)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip.cross_block",
        title="The cross-attention block",
        minutes=8,
        difficulty=2,
        reference=cross_block,
        check=_check,
        hints=(
            "q from x, k and v from seen; split into heads; softmax(q kᵀ / √d) v; put together.",
            'rearrange(q, "b l (h d) -> b h l d", h=attention.heads), and the same for k and v.',
            'norm(x + attention.out(rearrange(weights @ v, "b h l d -> b l (h d)")))',
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("heads not put together in order", _not_split_back, "Queries come from"),
            Wrong("image detached", _image_detached, "no gradient reaches `seen`"),
            Wrong("the mean over the words", _of_the_image, "One vector for each word"),
        ),
        right=(
            Right("PyTorch's fused attention", _fused),
            Right("einsum", _einsum),
            Right("by the attention's own forward", lambda x, s, a, n: n(x + a(x, s))),
        ),
    ),
)
