"""The capstone of the LLaMA lecture: the whole decoder, put together by the student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.cache import LayerCache
from vlcourse.models.llama import LLaMA, LLaMAConfig
from vlcourse.teach import yours
from vlcourse.teach.checking import Exercise, Right, Wrong, call
from vlcourse.teach.gradients import expect_gradients
from vlcourse.teach.llama.exercises import cached, feed_forward, norm, rope
from vlcourse.teach.llama.exercises import capstone_answers as answers
from vlcourse.teach.mistakes import expect_right

Caches = Sequence[LayerCache]


def llama_logits(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    """The reference: section 2.2, by the student's functions as far as they passed.

    Args:
        model: a :class:`~vlcourse.models.llama.LLaMA` with as many heads of keys as of queries.
        tokens: (B, L) ids, which come after what the caches hold.
        caches: one for each block.

    Returns:
        (B, L, V) logits of the next token at each position.
    """
    rms_norm = yours.pick("llama.rms_norm", norm.rms_norm)
    swiglu = yours.pick("llama.swiglu", feed_forward.swiglu)
    turn = yours.pick("llama.rope", rope.rope)
    attend = yours.pick("llama.attention_cache", cached.attend_with_cache)
    config, past = model.config, caches[0].length
    positions = torch.arange(past, past + tokens.shape[1], device=tokens.device)
    x = model.token(tokens)  # (B, L, d)
    for block, cache in zip(model.blocks, caches, strict=True):
        a, m = block.attention, block.mlp
        h = rms_norm(x, block.norm1.weight, config.norm_eps)
        q, k, v = (
            rearrange(linear(h), "b l (h d) -> b h l d", h=config.heads)
            for linear in (a.q, a.k, a.v)
        )
        q, k = turn(q, positions, config.theta), turn(k, positions, config.theta)
        x = x + a.out(rearrange(attend(q, k, v, cache), "b h l d -> b l (h d)"))
        h = rms_norm(x, block.norm2.weight, config.norm_eps)
        x = x + swiglu(h, m.gate.weight, m.up.weight, m.down.weight)
    return model.head(rms_norm(x, model.norm_final.weight, config.norm_eps))


_SHAPES = (
    LLaMAConfig(11, 16, layers=2, heads=2, hidden=24, theta=500.0, norm_eps=1e-2, context=16),
    LLaMAConfig(13, 12, layers=1, heads=3, hidden=20, context=16),
)


def _check(candidate: Any) -> None:
    for config in _SHAPES:
        model = LLaMA(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.5)
        tokens = torch.randint(config.vocab_size, (2, 6))
        for chunks, told in (
            ((6,), "the logits"),
            ((3, 1, 2), "the logits for chunks of 3, 1 and 2 tokens"),
            ((1,) * 6, "the logits, one token at a time"),
        ):
            expect_right(
                partial(_run, model, tokens, chunks),
                candidate,
                _library,
                answers.MISTAKES,
                told,
                "Compare each line with the figure of the block and the list of names above.",
            )
        _check_gradients(candidate, model, tokens)


def _run(model: Any, tokens: Tensor, chunks: Sequence[int], function: Any) -> Tensor:
    """One text, chunk by chunk; (B, L, V)."""
    caches = model.new_cache(*tokens.shape).layers
    return torch.cat(
        [call(function, model, part, caches) for part in tokens.split(list(chunks), dim=1)], dim=1
    )


def _check_gradients(candidate: Any, model: Any, tokens: Tensor) -> None:
    """Each parameter learns, and what it learns is right."""
    logits = candidate(model, tokens, model.new_cache(*tokens.shape).layers)
    expect_gradients(logits, model(tokens), dict(model.named_parameters()), "logits")


def _library(model: Any, tokens: Tensor, caches: Caches) -> Tensor:
    """The library's own forward pass over the same caches."""
    cache = model.new_cache(len(tokens), 1)
    cache.layers = list(caches)
    return model(tokens, cache)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="llama.model",
        title="Your own LLaMA",
        minutes=15,
        difficulty=3,
        reference=llama_logits,
        check=_check,
        hints=(
            "A block: rms_norm, q k v, heads, rope on q and k, attend_with_cache, heads joined, "
            "out, + x; then rms_norm, swiglu, + x. At the end rms_norm and model.head.",
            "past = caches[0].length before the loop; positions = torch.arange(past, past + L).",
            "rearrange(linear(h), 'b l (h d) -> b h l d', h=model.config.heads) makes the heads.",
        ),
        wrong=(
            *(mistake.wrong() for mistake in answers.MISTAKES),
            Wrong("one cache for all blocks", answers.one_cache, "A block"),
            Wrong("new caches at each call", answers.new_caches, "figure of the block"),
            Wrong("probabilities for logits", answers.probabilities, "figure of the block"),
            Wrong("under no_grad", answers.without_gradient, "no_grad()"),
        ),
        right=(
            Right("by the library's layers", answers.by_the_layers),
            Right("by hand, positions in the loop", answers.by_hand),
            Right("the library's own", _library),
        ),
    ),
)


def _losses(function: Callable[..., Tensor], model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    tokens = batch["tokens"]
    return _lm(function(model, tokens, model.new_cache(*tokens.shape).layers), batch)


def _library_losses(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return _lm(model(batch["tokens"]), batch)


def _lm(logits: Tensor, batch: dict[str, Any]) -> dict[str, Any]:
    return {"lm": losses.lm(logits, nn.Identity(), batch["targets"])}


CAPSTONE = yours.Capstone(
    recipe="llm-capstone",
    exercise="llama.model",
    uses=("llama.rms_norm", "llama.swiglu", "llama.rope", "llama.attention_cache"),
    losses=_losses,
    library=_library_losses,
)
