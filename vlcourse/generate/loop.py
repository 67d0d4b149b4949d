"""Writing with any model of the course: greedy, by drawing, or by beam search.

A model takes part with two methods: ``start(tokens, mask, new_tokens, **conditions)`` reads the
prompt and returns :class:`vlcourse.layers.cache.Started`; ``step(tokens, cache)`` reads the newest
tokens and returns the logits of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.generate.beam import beam_search
from vlcourse.generate.sampling import draw, repetition, top_k_filter, top_p_filter
from vlcourse.generate.steps import Decoder, Ends, Options, Steps, Tokenizer
from vlcourse.layers.cache import Started as Started
from vlcourse.layers.frozen import evaluating


@dataclass(frozen=True)
class Generated:
    """The N best texts of each prompt, best first.

    Attributes:
        tokens: (B, N, T) new ids, padded after the end.
        lengths: (B, N) new tokens, the end id included.
        scores: (B, N) sum of the model's log-probabilities / length^length_penalty.
        texts: [prompt][n], before the end id or stop string; None without a tokenizer.
    """

    tokens: Tensor
    lengths: Tensor
    scores: Tensor
    texts: list[list[str]] | None


def generate(
    model: Decoder,
    tokens: Tensor | None,
    *,
    mask: Tensor | None = None,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    beams: int = 1,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
    end: int | Sequence[int] | None = None,
    stop: Sequence[str] = (),
    tokenizer: Tokenizer | None = None,
    pad: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    **conditions: Any,
) -> Tensor:
    """Go on from each prompt. For several texts, scores and strings see :func:`search`.

    Args:
        model: anything with ``start`` and ``step``; it is put into eval mode meanwhile.
        tokens: (B, P) ids of the prompts, or None where the model's conditions are the prompt.
        mask: (B, P) bool, False for padding; :func:`left_pad` makes both.
        max_new_tokens: the longest text. A model with rotary positions goes on beyond the context
            it was trained on, only not well; one with learned positions cannot.
        temperature: 0 takes the likeliest token; else one is drawn from softmax(logits / it).
        top_k: draw from the k likeliest tokens only; 0 for all.
        top_p: draw from the nucleus only: the likeliest tokens that sum to this probability.
        beams: texts that beam search keeps; 1 for no search.
        length_penalty: beam search divides a text's log-probability by its length to this power:
            above 0 it favours long texts, below 0 short ones.
        repetition_penalty: above 1 makes tokens of the prompt and the text less likely to return.
        end: the id that ends a text, or several.
        stop: strings that end a text. Their tokens stay; their characters are left out of the
            texts that :func:`search` returns.
        tokenizer: turns ids into text; needed for ``stop``.
        pad: what follows the end of a row (default: the first end id, or else 0).
        generator: where chance comes from. A row's draws depend on it and on the row's number
            alone: not on the other rows, their ends, or ``max_new_tokens``.
        use_cache: False reads everything again for each token, to see what the cache is worth.
        conditions: handed to the model's ``start``.

    Returns:
        (B, T) new ids, T ≤ max_new_tokens, padded after the end.

    Raises:
        ValueError: for an option out of its range, options that contradict each other, stop strings
            without a tokenizer, or what the model says of the prompt.
    """
    options = Options(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p,
        beams=beams, length_penalty=length_penalty, repetition_penalty=repetition_penalty,
        end=end, stop=stop, pad=pad,
    )  # fmt: skip
    found = search(
        model, tokens, options, mask=mask, tokenizer=tokenizer, generator=generator,
        use_cache=use_cache, **conditions,
    )  # fmt: skip
    return found.tokens[:, 0]


def search(
    model: Decoder,
    tokens: Tensor | None,
    options: Options,
    *,
    mask: Tensor | None = None,
    tokenizer: Tokenizer | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    **conditions: Any,
) -> Generated:
    """As :func:`generate`, with the ``options.n_best`` best texts of each prompt, and their scores.

    With a tokenizer the texts come as strings too.
    """
    if tokens is not None and (tokens.ndim != 2 or tokens.is_floating_point()):
        raise ValueError(f"the prompts must be ids of shape (B, P), not {_kind(tokens)}")
    if mask is not None and tokens is not None and mask.shape != tokens.shape:
        raise ValueError(f"the mask {tuple(mask.shape)} does not fit tokens {tuple(tokens.shape)}")
    ends = Ends(options, tokenizer)
    mode = evaluating(model) if isinstance(model, nn.Module) else nullcontext()
    with mode, torch.inference_mode():
        steps = Steps(model, tokens, mask, options.max_new_tokens, use_cache, conditions)
        if options.beams > 1:
            written, lengths, scores = beam_search(steps, options, ends)
        else:
            written, lengths, scores = _one_by_one(steps, options, ends, generator)
        n, longest = options.n_best, int(lengths[:, : options.n_best].max())
    # Cloned outside of inference mode, so that they may also be trained on.
    written, lengths, scores = (x[:, :n].clone() for x in (written[..., :longest], lengths, scores))
    texts = None
    if tokenizer is not None:
        counted = zip(written.tolist(), lengths.tolist(), strict=True)
        texts = [
            [ends.text(ids[:count], tokenizer) for ids, count in zip(*row, strict=True)]
            for row in counted
        ]
    return Generated(written, lengths, scores, texts)


def _one_by_one(
    steps: Steps, options: Options, ends: Ends, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy or drawn: tokens (B, 1, T), lengths (B, 1), scores (B, 1)."""
    batch, device = len(steps.logits), steps.logits.device
    length, penalty = options.max_new_tokens, options.repetition_penalty
    written = torch.full((batch, length), options.padding, device=device)
    lengths = torch.zeros(batch, dtype=torch.long, device=device)
    scores = torch.zeros(batch, device=device)
    over = torch.zeros(batch, dtype=torch.bool, device=device)
    chance = _uniform(batch, length, generator).to(device) if options.temperature else None
    for t in range(length):
        logits = steps.logits.float()
        if penalty != 1:
            logits = repetition(logits, torch.cat([steps.prompt, written[:, :t]], dim=1), penalty)
        if chance is None:
            token = logits.argmax(dim=-1)
        else:
            token = draw(_filtered(logits, options), chance[:, t])
        log_p = logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(dim=-1)
        scores += log_p.masked_fill(over, 0.0)
        lengths += ~over
        written[:, t] = token.masked_fill(over, options.padding)
        over = over | ends.reached(written[:, : t + 1], over)
        if t + 1 == length or bool(over.all()):
            break
        steps.next(token)  # also in rows that are over: what they read is seen by no other row
    scores /= lengths**options.length_penalty
    return written[:, None], lengths[:, None], scores[:, None]


def _filtered(logits: Tensor, options: Options) -> Tensor:
    """The logits to draw from: temperature, then top-k, then top-p."""
    logits = logits / options.temperature
    if options.top_k:
        logits = top_k_filter(logits, options.top_k)
    return top_p_filter(logits, options.top_p)


def _uniform(rows: int, length: int, generator: torch.Generator | None) -> Tensor:
    """(rows, length) numbers from [0, 1); every row has a generator of its own, seeded by ours."""
    device = generator.device if generator else "cpu"
    seeds = torch.randint(2**62, (rows,), generator=generator, device=device).tolist()
    return torch.stack(
        [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


def left_pad(
    rows: Sequence[Sequence[int]], pad: int = 0, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Prompts of different lengths as one batch, all ending at the same place.

    Args:
        rows: ids of each prompt.
        pad: any id of the vocabulary; nothing attends to it.

    Returns:
        tokens (B, P), and the mask (B, P), False for padding.

    Raises:
        ValueError: when there is no prompt, or an empty one.
    """
    if not rows:
        raise ValueError("there are no prompts to put into a batch")
    if empty := [i for i, row in enumerate(rows) if not len(row)]:
        raise ValueError(f"prompt {empty[0]} is empty: begin it with the id of the text's start")
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[i >= longest - len(row) for i in range(longest)] for row in rows])
    return tokens.to(device), mask.to(device)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
