"""Nucleus sampling: the smallest set of most probable tokens that holds the share p."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.generate.sampling import top_p_filter
from vlcourse.teach.checking import Exercise, Wrong, call, expect, expect_shape, fail
from vlcourse.teach.mistakes import Mistake, same

_HIDDEN = "Removed tokens get -inf, whose softmax is 0; a logit of 0 is as good as any other."

# What is tried, the rows of probabilities, p, and what to look at when the set is wrong.
_CASES: tuple[tuple[str, tuple[tuple[float, ...], ...], float, str], ...] = (
    (
        "sorted probabilities",
        ((0.35, 0.25, 0.2, 0.15, 0.05),),
        0.68,
        "Add up the sorted probabilities; a token stays while the sum *before* it is below p.",
    ),
    (
        "one token above p",
        ((0.03, 0.9, 0.05, 0.02),),
        0.5,
        "The most probable token always stays: the sum before it is 0.",
    ),
    (
        "unsorted probabilities",
        ((0.05, 0.3, 0.15, 0.5),),
        0.9,
        "What you know of the sorted tokens must go back to their own places: scatter or gather.",
    ),
    (
        "two rows",
        ((0.1, 0.2, 0.3, 0.4), (0.85, 0.05, 0.06, 0.04)),
        0.8,
        "Each row is sorted and cut on its own, along the last axis.",
    ),
    (
        "p = 1",
        ((0.2, 0.05, 0.7, 0.05),),
        1.0,
        "With p = 1 every token stays.",
    ),
)


def _check(candidate: Any) -> None:
    for what, rows, p, hint in _CASES:
        probabilities = torch.tensor(rows)
        logits = probabilities.log() + 1.6  # a constant that softmax takes away again
        out, right = call(candidate, logits, p), top_p_filter(logits, p)
        expect_shape(out, logits.shape, f"the result for {what}", "One logit a token, as before.")
        if same(out, right):
            continue
        for mistake in MISTAKES:
            if same(out, mistake.function(logits, p)):
                fail(mistake.what, mistake.hint)
        for row, wanted, given, share in zip(out, right, logits, rows, strict=True):
            _check_row(row, wanted, given, share, f"{what}, p = {p:g}", hint)


def _check_row(
    row: Tensor, wanted: Tensor, given: Tensor, share: Sequence[float], what: str, hint: str
) -> None:
    kept, right = torch.isfinite(row), torch.isfinite(wanted)
    strange = row.isnan() | (row == math.inf)
    expect(not strange.any(), f"the result for {what} holds NaN or +inf", _HIDDEN)
    expect(bool(kept.any()), f"no token is left for {what}", hint)
    if (kept & ~right & (row != given)).any():
        wrong = row[kept & ~right & (row != given)][0].item()
        fail(f"removed tokens get the logit {wrong:g}", _HIDDEN)
    if not torch.equal(kept, right):
        fail(
            f"for {what}, the probabilities {list(share)} should keep {_listed(share, right)},"
            f" you keep {_listed(share, kept)}",
            hint,
        )
    if not torch.allclose(row[kept], given[kept]):
        fail("the logits that stay are changed", "Only remove tokens: the others keep their logit.")


def _listed(share: Sequence[float], kept: Tensor) -> list[float]:
    return [p for p, stays in zip(share, kept.tolist(), strict=True) if stays]


def _keep(logits: Tensor, kept: Tensor, order: Tensor) -> Tensor:
    """Keep by a mask in sorted ``order``."""
    return logits.masked_fill(~kept.gather(-1, order.argsort(-1)), -math.inf)


def _sorted(logits: Tensor, descending: bool = True) -> tuple[Tensor, Tensor]:
    shares, order = logits.softmax(-1).sort(dim=-1, descending=descending)
    return shares, order


def _without_the_crossing(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits)
    return _keep(logits, shares.cumsum(-1) <= p + 1e-6, order)


def _one_too_many(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits)
    before = shares.cumsum(-1) - shares
    return _keep(logits, before - shares.roll(1, -1) < p, order)


def _ascending(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits, descending=False)
    return _keep(logits, shares.cumsum(-1) - shares < p, order)


def _mask_not_put_back(logits: Tensor, p: float) -> Tensor:
    shares, _ = _sorted(logits)
    return logits.masked_fill(shares.cumsum(-1) - shares >= p, -math.inf)


def _sorted_result(logits: Tensor, p: float) -> Tensor:
    shares, _ = _sorted(logits)
    kept = shares.cumsum(-1) - shares < p
    return logits.sort(dim=-1, descending=True).values.masked_fill(~kept, -math.inf)


def _sum_of_logits(logits: Tensor, p: float) -> Tensor:
    values, order = logits.sort(dim=-1, descending=True)
    return _keep(logits, values.cumsum(-1) - values < p, order)


def _each_above_p(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(logits.softmax(-1) < p, -math.inf)


def _each_above_the_rest(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(logits.softmax(-1) < 1 - p, -math.inf)


def _zero(logits: Tensor, p: float) -> Tensor:
    return top_p_filter(logits, p).nan_to_num(neginf=0.0)


def _probabilities(logits: Tensor, p: float) -> Tensor:
    return top_p_filter(logits, p).softmax(-1)


def _first_row_for_all(logits: Tensor, p: float) -> Tensor:
    kept = torch.isfinite(top_p_filter(logits[:1], p))
    return logits.masked_fill(~kept, -math.inf)


MISTAKES = (
    Mistake(
        "logits added up",
        _sum_of_logits,
        "you add up logits, and only probabilities add up to 1",
        "Begin with logits.softmax(dim=-1).",
    ),
    Mistake(
        "the crossing token dropped",
        _without_the_crossing,
        "the token that crosses p is dropped, so what is left holds less than p",
        "A token stays while the sum *before* it is below p: cumsum - probability < p.",
    ),
    Mistake(
        "least probable first",
        _ascending,
        "you keep the least probable tokens",
        "Sort with descending=True: the set is filled with the most probable tokens first.",
    ),
    Mistake(
        "mask not put back",
        _mask_not_put_back,
        "the mask is in sorted order, the logits are not",
        "Put the mask back in the tokens' own order: kept.gather(-1, order.argsort(-1)).",
    ),
    Mistake(
        "sorted result",
        _sorted_result,
        "you return the logits in sorted order, so each token has another one's logit",
        "Put them back in the tokens' own order: torch.empty_like(logits).scatter(-1, order, …).",
    ),
    Mistake(
        "each token above p",
        _each_above_p,
        "you compare each token's own probability with p",
        "It is the sum that must reach p: sort, then cumsum.",
    ),
    Mistake(
        "returns probabilities",
        _probabilities,
        "you return probabilities",
        "Logits are wanted, so that one filter can follow another; softmax comes at the end.",
    ),
)

EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="llama.top_p",
        title="Top-p, the filter of nucleus sampling",
        minutes=10,
        difficulty=2,
        reference=top_p_filter,
        check=_check,
        hints=(
            "Sort the probabilities, add them up, decide who stays, and go back to the old order.",
            "shares, order = logits.softmax(-1).sort(dim=-1, descending=True); the sum before each"
            " is shares.cumsum(-1) - shares.",
            "kept = shares.cumsum(-1) - shares < p; return logits.masked_fill("
            "~kept.gather(-1, order.argsort(-1)), -math.inf)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in MISTAKES),
            Wrong("one token too many", _one_too_many, "while the sum *before* it"),
            Wrong("each above 1 - p", _each_above_the_rest, "while the sum *before* it"),
            Wrong("0 instead of -inf", _zero, _HIDDEN),
            Wrong("+inf instead of -inf", lambda x, p: top_p_filter(x, p).abs(), _HIDDEN),
            Wrong("the first row decides for all", _first_row_for_all, "on its own"),
        ),
    ),
)
