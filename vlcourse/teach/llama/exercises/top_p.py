"""Nucleus sampling: the smallest set of most probable tokens that holds the share p."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.generate.sampling import top_p_filter
from vlcourse.teach.checking import (
    Exercise,
    Right,
    Wrong,
    call,
    expect,
    expect_close,
    expect_shape,
    fail,
    same_dtype,
)
from vlcourse.teach.llama.exercises import top_p_answers as answers
from vlcourse.teach.mistakes import Mistake, same

_HIDDEN = "Removed tokens get -inf, whose softmax is 0; a logit of 0 is as good as any other."

_NAN = (
    "0 · -inf is NaN, so no mask * -math.inf: use logits.masked_fill(removed, -math.inf)."
    " And -inf - -inf is NaN, too."
)
_BY_PLACE = (
    "Decide by the place in the sorted order, not by comparing with the probability or the logit"
    " of the last one that stays: equal ones need not all stay."
)
_REACHED = (
    "Two already hold p = 0.5: a token stays while the sum before it is < p, not <= p"
    " (with a shifted `cumsum > p`: write >=)."
)
_AXIS = "The tokens are the last axis, dim=-1, however many axes stand before it."
_TYPE = "Start from the logits' own type: torch.full_like(logits, -math.inf), or masked_fill."

# What is tried, the rows of probabilities, p, and what to look at when the set is wrong.
_CASES: tuple[tuple[str, tuple[tuple[float, ...], ...], float, str], ...] = (
    (
        "sorted probabilities",
        ((0.35, 0.25, 0.2, 0.15, 0.05),),
        0.45,
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
        "a row that top-k has filtered already",
        ((0.0, 0.3, 0.5, 0.2), (0.2, 0.3, 0.0, 0.5)),
        0.7,
        "A logit of -inf is a probability of 0: it stays removed.",
    ),
    (
        "p = 1",
        ((0.2, 0.05, 0.7, 0.05),),
        1.0,
        "With p = 1 every token stays.",
    ),
)


def _check(candidate: Any) -> None:
    answered = [_answer(candidate, _logits(rows), p, what) for what, rows, p, _ in _CASES]
    if not _agree(answered, top_p_filter):
        for mistake in MISTAKES:
            if _agree(answered, mistake.function):
                fail(mistake.what, mistake.hint)
    for (what, rows, p, hint), out in zip(_CASES, answered, strict=True):
        logits = _logits(rows)
        right = top_p_filter(logits, p)
        for row, wanted, given, share in zip(out, right, logits, rows, strict=True):
            _check_row(row, wanted, given, share, f"{what}, p = {p:g}", hint)
    _check_ties(candidate)
    for shape in ((5,), (1, 5), (2, 3, 5)):
        logits = torch.randn(shape)
        out = _answer(candidate, logits, 0.7, f"logits of shape {shape}", _AXIS)
        expect_close(out, top_p_filter(logits, 0.7), f"the result for shape {shape}", _AXIS)
    same_dtype(candidate, logits, 0.7, what="the result", hint=_TYPE)


def _logits(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows).log() + 1.6  # a constant that softmax takes away again


def _answer(
    candidate: Any, logits: Tensor, p: float, what: str, hint: str = "One logit a token, as before."
) -> Tensor:
    out = call(candidate, logits, p)
    expect_shape(out, logits.shape, f"the result for {what}", hint)
    if out.dtype == torch.bool:
        fail("you return a mask", "Logits are wanted: logits.masked_fill(removed, -math.inf).")
    return out


def _agree(answered: Sequence[Tensor], function: Any) -> bool:
    cases = ((_logits(rows), p) for _, rows, p, _ in _CASES)
    return all(same(out, function(*case)) for out, case in zip(answered, cases, strict=True))


def _check_ties(candidate: Any) -> None:
    """Of equally probable tokens any may stay, but no more than are needed."""
    logits = torch.zeros(2, 4)  # probabilities of 1/4 exactly
    for p, needed, hint in ((0.6, 3, _BY_PLACE), (0.5, 2, _REACHED)):
        out = _answer(candidate, logits, p, "four equally probable tokens")
        for kept in out.isfinite().sum(-1).tolist():
            expect(
                kept == needed,
                f"of four equally probable tokens you keep {kept}, p = {p:g} needs {needed}",
                hint,
            )


def _check_row(
    row: Tensor, wanted: Tensor, given: Tensor, share: Sequence[float], what: str, hint: str
) -> None:
    kept, right = torch.isfinite(row), torch.isfinite(wanted)
    expect(not row.isnan().any(), f"the result for {what} holds NaN", _NAN)
    expect(not (row == math.inf).any(), f"the result for {what} holds +inf", _HIDDEN)
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


MISTAKES = (
    Mistake(
        "logits added up",
        answers.sum_of_logits,
        "you add up logits, and only probabilities add up to 1",
        "Begin with logits.softmax(dim=-1).",
    ),
    Mistake(
        "the crossing token dropped",
        answers.without_the_crossing,
        "the token that crosses p is dropped, so what is left holds less than p",
        "A token stays while the sum *before* it is below p: cumsum - probability < p.",
    ),
    Mistake(
        "least probable first",
        answers.ascending,
        "you keep the least probable tokens",
        "Sort with descending=True: the set is filled with the most probable tokens first.",
    ),
    Mistake(
        "mask not put back",
        answers.mask_not_put_back,
        "the mask is in sorted order, the logits are not",
        "Put the mask back in the tokens' own order: kept.gather(-1, order.argsort(-1)).",
    ),
    Mistake(
        "sorted result",
        answers.sorted_result,
        "you return the logits in sorted order, so each token has another one's logit",
        "Put them back in the tokens' own order: torch.empty_like(logits).scatter(-1, order, …).",
    ),
    Mistake(
        "each token above p",
        answers.each_above_p,
        "you compare each token's own probability with p",
        "It is the sum that must reach p: sort, then cumsum.",
    ),
    Mistake(
        "returns probabilities",
        answers.probabilities,
        "you return probabilities",
        "Logits are wanted, so that one filter can follow another; softmax comes at the end.",
    ),
    *(
        Mistake(f"{step} over the rows", function, f"the {step} runs over the rows, dim=0", _AXIS)
        for step, function in (
            ("softmax", answers.softmax_over_the_rows),
            ("sort", answers.sorted_over_the_rows),
            ("sum", answers.summed_over_the_rows),
            ("whole filter", answers.all_over_the_rows),
        )
    ),
    Mistake(
        "put back by the order itself",
        answers.put_back_by_the_order,
        "the mask is gathered by the order once more, which does not undo the sort",
        "Gather by the inverse order, kept.gather(-1, order.argsort(-1)), or scatter by the order.",
    ),
    Mistake(
        "complement",
        answers.complement,
        "you keep the set that holds 1 - p",
        "p is the share that stays, not the one that goes.",
    ),
    Mistake(
        "inverted",
        answers.inverted,
        "the nucleus is removed and the tail stays",
        "The mask is turned round: ~kept, or kept = before < p.",
    ),
    Mistake(
        "one token too many",
        answers.one_too_many,
        "one token too many stays",
        "The sum *before* a token must be below p: all those before it, cumsum - probability.",
    ),
    Mistake(
        "log of the shares",
        answers.log_of_a_share,
        "the logits that stay are changed into logs of new probabilities",
        "Only remove tokens: the others keep their logit. The softmax after it makes the sum 1.",
    ),
    Mistake(
        "always two",
        answers.top_k,
        "you keep two tokens always: that is top-k with k = 2",
        "How many stay depends on the probabilities: as many as p needs.",
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
            Wrong("by value", answers.by_value, "equal ones need not all stay"),
            Wrong("all as good as the last", answers.from_the_least_kept, "equal ones need not"),
            Wrong("one too many at equality", answers.at_equality, "is < p, not <= p"),
            Wrong("axis 1", answers.axis_one, "axis 1 does not exist"),
            Wrong("mask * -inf", answers.mask_times_infinity, "masked_fill"),
            Wrong("-1e9", answers.very_negative, _HIDDEN),
            Wrong("tokens cut out", answers.tokens_removed, "One logit a token"),
            Wrong("a mask", answers.a_mask, "Logits are wanted"),
            Wrong("none may stay", answers.none_left, "while the sum *before* it"),
            Wrong("in place", answers.in_place, "changes `logits` in place"),
            Wrong("float32 beside", answers.float32_beside, "full_like"),
            Wrong("each above 1 - p", answers.each_above_the_rest, "while the sum *before* it"),
            Wrong("0 instead of -inf", answers.zeros, _HIDDEN),
            Wrong("+inf instead of -inf", lambda x, p: top_p_filter(x, p).abs(), _HIDDEN),
            Wrong("the first row decides for all", answers.first_row_for_all, "on its own"),
        ),
        right=(
            Right("from the least probable", answers.from_below),
            Right("sorted logits scattered", answers.scattered),
            Right("by rank, with a zero in front", answers.by_rank),
            Right("one row and one token at a time", answers.by_a_loop),
        ),
    ),
)
