"""Writing with any model of the course: greedy, by drawing, or by beam search.

A model takes part with two methods and a number: ``start(tokens, mask, new_tokens, **conditions)``
reads the prompt and returns :class:`vlcourse.layers.cache.Started`; ``step(tokens, cache)`` reads
the newest tokens and returns the logits of the next one; ``vocab_size`` says how many ids it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlcourse.generate.beam import beam_search
from vlcourse.generate.options import GenerateError, Options
from vlcourse.generate.steps import Decoder, Ends, Steps, Tokenizer, eval_mode
from vlcourse.generate.stream import walk
from vlcourse.layers.cache import Started as Started


@dataclass(frozen=True)
class Generated:
    """The N best texts of each prompt, best first.

    Attributes:
        tokens: (B, N, T) new ids, padded after the end.
        lengths: (B, N) new tokens, the end id included.
        scores: (B, N) sum of the model's log-probabilities / length^length_penalty.
        texts: [prompt][n], before the end id or stop string: what follows the prompt's text, with
            the space between them, if any. None without a tokenizer.
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
    min_new_tokens: int = 0,
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
        min_new_tokens: the shortest text, its end not counted: until then no end id is written (a
            stop string may be).
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
        tokenizer: turns ids into text; needed for ``stop``. One with a ``vocab_size`` must have as
            many ids as the model, or the model that number rounded up to a multiple of 64; the
            model's ids above it are never written.
        pad: what follows the end of a row. Default: the first end id; or an id that has no text, if
            a tokenizer is given; or else 0.
        generator: where chance comes from. A row's draws depend on it and on the row's number
            alone: not on the other rows, their ends, or ``max_new_tokens``.
        use_cache: False reads everything again for each token, to see what the cache is worth.
        conditions: handed to the model's ``start``.

    Returns:
        (B, T) new ids, T ≤ max_new_tokens, padded after the end.

    Raises:
        RangeError: for an option out of its range.
        GenerateError: for options that contradict each other, stop strings without a tokenizer, a
            tokenizer of another model, a prompt that is empty, misshapen or has ids that the model
            has not, or a model that gives NaN.
    """
    options = Options(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p,
        beams=beams, length_penalty=length_penalty, repetition_penalty=repetition_penalty,
        end=end, stop=stop, pad=pad, min_new_tokens=min_new_tokens,
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
    generator: torch.Generator | Sequence[int] | None = None,
    use_cache: bool = True,
    **conditions: Any,
) -> Generated:
    """As :func:`generate`, with the ``options.n_best`` best texts of each prompt, and their scores.

    With a tokenizer the texts come as strings too. ``generator`` may also be a seed for each row,
    so that a row's text does not depend on its place in a batch.
    """
    with eval_mode(model), torch.inference_mode():
        steps = Steps(model, tokens, mask, options, tokenizer, use_cache, conditions)
        ends = Ends(options, tokenizer, steps.prompt if steps.goes_on else None)
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
            [ends.text(ids[:count], i) for ids, count in zip(*row, strict=True)]
            for i, row in enumerate(counted)
        ]
    return Generated(written, lengths, scores, texts)


def _one_by_one(
    steps: Steps, options: Options, ends: Ends, generator: torch.Generator | Sequence[int] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy or drawn: tokens (B, 1, T), lengths (B, 1), scores (B, 1)."""
    taken = list(walk(steps, options, ends, generator))
    written = torch.stack([token for token, _ in taken], dim=1)  # (B, T)
    log_p = torch.stack([each for _, each in taken], dim=1)  # (B, T), NaN after the end
    lengths = (~log_p.isnan()).sum(dim=1)
    scores = log_p.nansum(dim=1) / lengths**options.length_penalty
    return written[:, None], lengths[:, None], scores[:, None]


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
        GenerateError: when there is no prompt, or an empty one.
    """
    if not rows:
        raise GenerateError("there are no prompts to put into a batch")
    if empty := [i for i, row in enumerate(rows) if not len(row)]:
        raise GenerateError(f"prompt {empty[0]} is empty: begin it with the id of the text's start")
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[i >= longest - len(row) for i in range(longest)] for row in rows])
    return tokens.to(device), mask.to(device)
