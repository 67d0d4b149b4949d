"""From logits to the next token: filters of the distribution, and a draw from what is left.

Every filter takes and gives logits, (…, V); what is filtered out becomes -∞.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlcourse.generate.options import GenerateError


def checked(logits: Tensor) -> Tensor:
    """The same logits, (…, V).

    Raises:
        GenerateError: when a row has no likeliest token: NaN or +∞ in it, or nothing but -∞.
    """
    if not logits.amax(dim=-1).isfinite().all():
        raise GenerateError(
            "the model's logits are NaN or infinite: its weights are damaged, or its numbers are "
            "too large for their type"
        )
    return logits


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Keep the ``k`` most likely tokens, and those as likely as the last of them.

    Args:
        logits: (…, V).
        k: 1 or more; with k ≥ V all tokens stay.

    Raises:
        GenerateError: when k is less than 1.
    """
    if not k >= 1:
        raise GenerateError(f"top_k keeps the k most likely tokens: k must be 1 or more, not {k}")
    if k >= logits.shape[-1]:
        return logits
    last = logits.topk(k).values[..., -1:]  # (…, 1)
    return logits.masked_fill(logits < last, float("-inf"))


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep the nucleus: the fewest tokens whose probabilities sum to ``p`` or more.

    Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1. A token stays
    when those that are more likely do not sum to ``p`` yet; so at least one stays. Of equally
    likely tokens, those with the lower ids come first.

    Args:
        logits: (…, V).
        p: above 0; with 1 all tokens stay.

    Raises:
        GenerateError: when p is not in (0, 1].
    """
    if not 0 < p <= 1:
        raise GenerateError(f"top_p is a share of the probability: it must be in (0, 1], not {p}")
    if p == 1:
        return logits
    ordered, ids = logits.sort(dim=-1, descending=True, stable=True)  # (…, V)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities  # of the tokens that are more likely
    removed = before >= p
    removed[..., 0] = False  # a tiny p may be lost in rounding
    return logits.masked_fill(torch.zeros_like(removed).scatter(-1, ids, removed), float("-inf"))


def repetition(logits: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    """Make tokens that have been written less likely (Keskar et al. 2019, "CTRL", section 4.1).

    Their logits are divided by ``penalty``, or multiplied where they are negative, which the paper
    leaves out: dividing a negative logit would make its token more likely. A token that came
    several times counts once.

    Args:
        logits: (B, V), or log-probabilities.
        tokens: (B, L) ids so far; negative ones are padding and count for nothing.
        penalty: above 1 against repeating, 1 for nothing; the paper has 1.2.

    Raises:
        GenerateError: when the penalty is not above 0.
    """
    if not penalty > 0:
        raise GenerateError(
            f"the repetition penalty must be above 0 (1 does nothing), not {penalty}"
        )
    vocabulary = logits.shape[-1]
    seen = torch.zeros(len(logits), vocabulary + 1, dtype=torch.bool, device=logits.device)
    seen.scatter_(1, tokens.where(tokens >= 0, vocabulary), True)  # the last column is thrown away
    lowered = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen[:, :vocabulary], lowered, logits)


def without(logits: Tensor, ids: Sequence[int]) -> Tensor:
    """The same logits, (…, V), or log-probabilities, with which none of these ids is written."""
    lowered = logits.clone()
    lowered[..., list(ids)] = float("-inf")
    return lowered


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """One token a row, by inverting the cumulative distribution.

    A row's token depends on its logits and its number alone, whatever the other rows are.

    Args:
        logits: (B, V).
        uniform: (B,) numbers from [0, 1).

    Returns:
        (B,) ids; never one whose probability is 0.
    """
    cumulative = logits.float().softmax(dim=-1).cumsum(dim=-1)  # (B, V)
    # Strictly below the total, also after rounding: the first sum above it is then of a token
    # whose probability is not 0.
    point = uniform[:, None].float() * (1 - 2**-22) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, point, right=True).squeeze(1)
