"""Writing token by token: what a chat page shows while the model is still at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.generate.options import GenerateError, Options
from vlcourse.generate.sampling import (
    checked,
    draw,
    repetition,
    top_k_filter,
    top_p_filter,
    without,
)
from vlcourse.generate.steps import Decoder, Ends, Steps, Tokenizer, eval_mode


def stream(
    model: Decoder,
    tokens: Tensor | None,
    *,
    mask: Tensor | None = None,
    max_new_tokens: int,
    min_new_tokens: int = 0,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    end: int | Sequence[int] | None = None,
    stop: Sequence[str] = (),
    tokenizer: Tokenizer | None = None,
    pad: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    **conditions: Any,
) -> Iterator[Tensor]:
    """The columns of what :func:`vlcourse.generate.loop.generate` returns, each once it is known.

    The prompt is read, and everything refused that can be, when this is called. While the iterator
    is in use the model is in eval mode; it is as it was when the iterator ends, is closed, or is
    dropped (``break`` in a for loop does that).

    Args:
        model, tokens, and all others: as in :func:`vlcourse.generate.loop.generate`. The ids are
            the same, drawn ones included. (A beam search knows its text at the end only.)

    Yields:
        (B,) new ids; ``pad`` in rows whose text is over.

    Raises:
        RangeError, GenerateError: as there.
    """
    options = Options(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p,
        repetition_penalty=repetition_penalty, end=end, stop=stop, pad=pad,
        min_new_tokens=min_new_tokens,
    )  # fmt: skip
    steps, ends = _begun(model, tokens, options, mask, tokenizer, use_cache, conditions)
    return _tokens(model, steps, options, ends, generator)


def stream_text(
    model: Decoder,
    tokens: Tensor | None,
    options: Options,
    *,
    tokenizer: Tokenizer,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    **conditions: Any,
) -> Iterator[str]:
    """Pieces of one prompt's text, as soon as they are certain: ``print(piece, end="")``.

    Together they are what :func:`vlcourse.generate.loop.search` gives as the text. A piece is held
    back while its last character is not whole, or while it may turn out to be the beginning of a
    stop string.

    Args:
        model, tokens, and all others: as in :func:`vlcourse.generate.loop.search`, with one prompt.

    Yields:
        Strings that are not empty.

    Raises:
        RangeError, GenerateError: as there; also for several prompts, or a beam search.
    """
    if options.beams > 1:
        raise GenerateError("a beam search knows its text at the end only: stream with beams=1")
    steps, ends = _begun(model, tokens, options, mask, tokenizer, use_cache, conditions)
    if len(steps.logits) != 1:
        raise GenerateError(f"text is streamed for one prompt, not for {len(steps.logits)}")
    return _pieces(_tokens(model, steps, options, ends, generator), ends)


def _begun(
    model: Decoder,
    tokens: Tensor | None,
    options: Options,
    mask: Tensor | None,
    tokenizer: Tokenizer | None,
    use_cache: bool,
    conditions: dict[str, Any],
) -> tuple[Steps, Ends]:
    with eval_mode(model), torch.inference_mode():
        steps = Steps(model, tokens, mask, options, tokenizer, use_cache, conditions)
        return steps, Ends(options, tokenizer, steps.prompt if steps.goes_on else None)


def _tokens(
    model: Decoder, steps: Steps, options: Options, ends: Ends, generator: torch.Generator | None
) -> Iterator[Tensor]:
    """As :func:`walk`, in eval mode; the ids are cloned, so that they may also be trained on."""
    with eval_mode(model):
        for token, _ in walk(steps, options, ends, generator):
            yield token.clone()


def _pieces(tokens: Iterator[Tensor], ends: Ends) -> Iterator[str]:
    ids: list[int] = []
    shown = 0
    for token in tokens:
        ids.append(int(token))
        settled = ends.settled(ends.text(ids))
        if len(settled) > shown:
            yield settled[shown:]
            shown = len(settled)
    if rest := ends.text(ids)[shown:]:
        yield rest


@torch.inference_mode()  # on during each step only, not while the one who asked has the token
def walk(
    steps: Steps, options: Options, ends: Ends, generator: torch.Generator | Sequence[int] | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Greedy or drawn, token by token, until every text is over.

    Yields:
        (B,) ids, padded in rows that are over, and (B,) their log-probabilities, NaN there.
    """
    batch, device = len(steps.logits), steps.logits.device
    length, penalty = options.max_new_tokens, options.repetition_penalty
    written = torch.full((batch, length), ends.padding, device=device)
    over = torch.zeros(batch, dtype=torch.bool, device=device)
    chance = uniform(batch, length, generator).to(device) if options.temperature else None
    for t in range(length):
        logits = steps.logits.float()
        if penalty != 1:
            logits = repetition(logits, torch.cat([steps.prompt, written[:, :t]], dim=1), penalty)
        if t < options.min_new_tokens:
            logits = without(logits, options.ends)
        logits = checked(logits)
        if chance is None:
            token = logits.argmax(dim=-1)
        else:
            token = draw(_filtered(logits, options), chance[:, t])
        log_p = logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(dim=-1)
        written[:, t] = token.masked_fill(over, ends.padding)
        yield written[:, t], log_p.masked_fill(over, float("nan"))
        over = over | ends.reached(written[:, : t + 1], over)
        if t + 1 == length or bool(over.all()):
            break
        steps.next(token)  # also in rows that are over: what they read is seen by no other row


def _filtered(logits: Tensor, options: Options) -> Tensor:
    """The logits to draw from: temperature, then top-k, then top-p."""
    # Only differences count; taken first, so that a low temperature makes none infinite.
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / options.temperature
    if options.top_k:
        logits = top_k_filter(logits, options.top_k)
    return top_p_filter(logits, options.top_p)


def uniform(rows: int, length: int, generator: torch.Generator | Sequence[int] | None) -> Tensor:
    """(rows, length) numbers from [0, 1); every row has a generator of its own.

    Its seed comes from ours, or is given for each row.
    """
    if isinstance(generator, Sequence):
        seeds = list(generator)
    else:
        device = generator.device if generator else "cpu"
        seeds = torch.randint(2**62, (rows,), generator=generator, device=device).tolist()
    return torch.stack(
        [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
