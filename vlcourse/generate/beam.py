"""Beam search: keep the likeliest unfinished texts, and the best finished ones, at every length."""

from __future__ import annotations

import torch
from torch import Tensor

from vlcourse.generate.options import Options
from vlcourse.generate.sampling import checked, repetition, without
from vlcourse.generate.steps import Ends, Steps

NEVER = -1e9  # added to a score that must not be chosen


def beam_search(steps: Steps, options: Options, ends: Ends) -> tuple[Tensor, Tensor, Tensor]:
    """The ``options.beams`` best texts that the search finds, best first.

    A text's score is the sum of its log-probabilities over its length, end id included, to the
    power of ``options.length_penalty`` (Wu et al. 2016, section 7, simplified: the paper divides by
    ((5 + length) / 6)^α). As transformers does by default (``early_stopping=False``), a prompt's
    search ends when its best unfinished text, scored as if it ended now, does not reach the worst
    of the finished ones.

    Args:
        steps: the model, with one row a prompt.
        options: see :func:`vlcourse.generate.loop.generate`.
        ends: when a text is over.

    Returns:
        tokens (B, beams, T), lengths (B, beams), scores (B, beams).
    """
    k, length = options.beams, options.max_new_tokens
    batch, vocabulary = steps.logits.shape
    device = steps.logits.device
    # With an end id for each, every beam can end and there are k texts left to go on with.
    candidates = min(max(2, 1 + len(options.ends)) * k, k * vocabulary)
    first = torch.arange(batch, device=device)[:, None] * k  # (B, 1) a prompt's first row
    steps.select(torch.arange(batch, device=device).repeat_interleave(k))

    writing = torch.full((batch, k, length), ends.padding, device=device)
    scores = torch.zeros(batch, k, device=device)  # sums of log-probabilities
    scores[:, 1:] = NEVER  # all beams are the same yet: go on from one of them
    done = writing.clone()
    done_scores = torch.full((batch, k), NEVER, device=device)
    done_lengths = torch.zeros(batch, k, dtype=torch.long, device=device)
    open_ = torch.ones(batch, 1, dtype=torch.bool, device=device)  # can it still get better?

    for t in range(length):
        log_p = checked(steps.logits.float()).log_softmax(dim=-1)  # (B · k, V)
        if options.repetition_penalty != 1:
            read = torch.cat([steps.prompt, writing[:, :, :t].flatten(0, 1)], dim=1)
            log_p = repetition(log_p, read, options.repetition_penalty)
        if t < options.min_new_tokens:  # the others keep their probabilities, as in transformers
            log_p = without(log_p, options.ends)
        total = scores[:, :, None] + log_p.view(batch, k, vocabulary)
        best, index = total.flatten(1).topk(candidates)  # (B, candidates)
        parent, token = index // vocabulary, index % vocabulary
        texts = writing.gather(1, parent[:, :, None].expand(-1, -1, length))
        texts[:, :, t] = token
        over = ends.reached(texts[:, :, : t + 1].flatten(0, 1)).view(batch, candidates)
        if t + 1 == length:
            over = torch.ones_like(over)

        # Finished: only what is among the k best may enter, and leaves the worst one out.
        final = best / (t + 1) ** options.length_penalty
        final = final + NEVER * (~open_).float()
        final[:, :k] += NEVER * (~over[:, :k]).float()
        final[:, k:] += NEVER
        done_scores, chosen = torch.cat([done_scores, final], dim=1).topk(k)
        done = torch.cat([done, texts], dim=1).gather(1, chosen[:, :, None].expand_as(done))
        lengths = torch.full_like(best, t + 1, dtype=torch.long)
        done_lengths = torch.cat([done_lengths, lengths], dim=1).gather(1, chosen)

        # Unfinished: the k best of the rest.
        scores, chosen = (best + NEVER * over.float()).topk(k)
        writing = texts.gather(1, chosen[:, :, None].expand_as(writing))
        hope = scores[:, :1] / (t + 1) ** options.length_penalty
        worst = done_scores.min(dim=1, keepdim=True).values
        # Fewer than k are finished while one has the score of none.
        open_ = open_ & (hope > worst)
        if over.all() or not open_.any():
            break
        steps.select((first + parent.gather(1, chosen)).flatten())
        steps.next(writing[:, :, t].flatten())
    return done, done_lengths, done_scores
