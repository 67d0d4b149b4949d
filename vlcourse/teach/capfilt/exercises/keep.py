"""The filter: from ITM's two logits to a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_shape, fail
from vlcourse.teach.mistakes import Mistake, expect_right


def keep(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Which texts stay (section 3.3 of the paper; the code's ITM head says "match" second).

    Args:
        logits: (N, 2), of "no match" and "match".
        threshold: on the probability of "match".

    Returns:
        (N,) bool.
    """
    return logits.softmax(dim=-1)[:, 1] > threshold


_MISTAKES = (
    Mistake(
        "the other logit",
        lambda logits, threshold: logits.softmax(dim=-1)[:, 0] > threshold,
        "you keep what does not match",
        "The order is (no match, match): the probability of a match is column 1.",
    ),
    Mistake(
        "below the threshold",
        lambda logits, threshold: logits.softmax(dim=-1)[:, 1] < threshold,
        "you keep the texts below the threshold",
        "A text stays if its probability of matching is above the threshold: >.",
    ),
    Mistake(
        "the logit itself",
        lambda logits, threshold: logits[:, 1] > threshold,
        "you compare a logit with a probability",
        "Softmax over the two logits first: logits.softmax(dim=-1)[:, 1].",
    ),
    Mistake(
        "a sigmoid of one logit",
        lambda logits, threshold: logits[:, 1].sigmoid() > threshold,
        "you look at one logit alone, and the other one counts as much",
        "The two are a softmax: sigmoid(yes - no), or logits.softmax(dim=-1)[:, 1].",
    ),
    Mistake(
        "softmax over the texts",
        lambda logits, threshold: logits.softmax(dim=0)[:, 1] > threshold,
        "your softmax runs over the texts, so that they compete with each other",
        "Each text has a verdict of its own: softmax(dim=-1), over its two logits.",
    ),
    Mistake(
        "argmax",
        lambda logits, threshold: logits.argmax(dim=-1) == 1,
        "you take the larger logit, whatever the threshold is",
        "That is a threshold of 0.5. Compare the probability with `threshold`.",
    ),
    Mistake(
        "0.5 for every threshold",
        lambda logits, threshold: logits.softmax(dim=-1)[:, 1] > 0.5,
        "you take the larger logit, whatever the threshold is",
        "That is a threshold of 0.5. Compare the probability with `threshold`.",
    ),
    Mistake(
        "not below",
        lambda logits, threshold: logits.softmax(dim=-1)[:, 1] >= threshold,
        "a text whose probability equals the threshold is kept",
        "Above means >, not >=: two equal logits say nothing for the text.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    # Some of each kind: sure, unsure, equal; and pairs where one logit alone misleads.
    logits = torch.tensor(
        [[-3.0, 3.0], [2.0, -1.0], [0.5, 0.5], [4.0, 5.5], [-6.0, -5.2], [2.2, 2.0], [-1.0, -0.2]]
    )

    def run(function: Callable[..., Any]) -> Any:
        kept = [function(logits, threshold) for threshold in (0.5, 0.75, 0.2)]
        return torch.stack(kept).long()

    kept = call(candidate, logits, 0.5)
    one_each = "One verdict for each text: take column 1 of the probabilities."
    expect_shape(kept, (7,), "the verdicts", one_each)
    if kept.dtype != torch.bool:
        name = str(kept.dtype).removeprefix("torch.")
        fail(
            f"the verdicts are of type {name}, not bool",
            "Compare: probability > threshold gives True or False for each text.",
        )
    expect_right(run, candidate, keep, _MISTAKES, "the verdicts", "softmax, column 1, compare.")
    checking.stable(lambda x: candidate(x, 0.5).long(), lambda x: keep(x, 0.5).long(), logits)
    one = call(candidate, logits[:1], 0.5)
    expect_shape(one, (1,), "the verdict on a single text", "No .squeeze() and no .item(): (1,).")
    none = call(candidate, logits[:0], 0.5)
    expect_shape(
        none, (0,), "the verdicts on no text at all", "Use tensors, not a loop that stacks."
    )


def _probabilities(logits: Tensor, threshold: float = 0.5) -> Tensor:
    return logits.softmax(dim=-1)[:, 1]


def _squeezed(logits: Tensor, threshold: float = 0.5) -> Tensor:
    return keep(logits, threshold).squeeze()


def _overflowing(logits: Tensor, threshold: float = 0.5) -> Tensor:
    weights = logits.exp()
    return weights[:, 1] / weights.sum(dim=-1) > threshold


def _by_difference(logits: Tensor, threshold: float = 0.5) -> Tensor:
    return (logits[:, 1] - logits[:, 0]).sigmoid() > threshold


def _by_log(logits: Tensor, threshold: float = 0.5) -> Tensor:
    return logits.log_softmax(dim=-1)[:, 1] > math.log(threshold)


def _by_odds(logits: Tensor, threshold: float = 0.5) -> Tensor:
    return logits[:, 1] - logits[:, 0] > math.log(threshold / (1 - threshold))


def _by_names(logits: Tensor, threshold: float = 0.5) -> Tensor:
    _, match = torch.softmax(logits, dim=1).unbind(dim=1)
    return torch.gt(match, threshold)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="capfilt.keep",
        title="The filter's verdict",
        minutes=5,
        difficulty=1,
        reference=keep,
        check=_check,
        hints=(
            "The ITM head gives two logits, and a threshold is about a probability.",
            "Softmax over the last axis; column 1 is the probability of a match; compare.",
            "logits.softmax(dim=-1)[:, 1] > threshold",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("probabilities", _probabilities, "True or False for each text"),
            Wrong("squeezed", _squeezed, "No .squeeze()"),
            Wrong("exp by hand", _overflowing, "subtract the largest first"),
        ),
        right=(
            Right("sigmoid of the difference", _by_difference),
            Right("in logarithms", _by_log),
            Right("the odds", _by_odds),
            Right("unbind", _by_names),
        ),
    ),
)
