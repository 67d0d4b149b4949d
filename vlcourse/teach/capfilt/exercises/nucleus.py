"""How the captioner draws its next token: a penalty on what it said, then the nucleus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vlcourse.generate.sampling import repetition, top_p_filter
from vlcourse.teach.checking import Exercise, Right, call, expect_shape, fail, same_dtype
from vlcourse.teach.mistakes import Mistake, expect_right


def nucleus(logits: Tensor, said: Tensor, p: float = 0.9, penalty: float = 1.1) -> Tensor:
    """From what probabilities the next token is drawn, as in the paper's code (top-p 0.9).

    Args:
        logits: (V,).
        said: (L,) ids of the text so far.
        p: share that the nucleus holds.
        penalty: logits of what was said are divided by it, or multiplied where negative.

    Returns:
        (V,) probabilities, 0 outside of the nucleus.
    """
    lowered = repetition(logits[None], said[None], penalty)  # (1, V)
    return top_p_filter(lowered, p).softmax(dim=-1)[0]


def _penalised(logits: Tensor, said: Tensor, penalty: float) -> Tensor:
    return repetition(logits[None], said[None], penalty)[0]


def _cut(logits: Tensor, p: float) -> Tensor:
    return top_p_filter(logits[None], p)[0]


def _always_divided(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    lowered = logits.clone()
    lowered[said] /= penalty
    return _cut(lowered, p).softmax(dim=-1)


def _always_multiplied(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    lowered = logits.clone()
    lowered[said] *= penalty
    return _cut(lowered, p).softmax(dim=-1)


def _subtracted(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    lowered = logits.clone()
    lowered[said] -= penalty
    return _cut(lowered, p).softmax(dim=-1)


def _every_time(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    lowered = logits.clone()
    for i in said.tolist():
        lowered[i] = lowered[i] / penalty if lowered[i] > 0 else lowered[i] * penalty
    return _cut(lowered, p).softmax(dim=-1)


def _on_probabilities(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    chances = logits.softmax(dim=-1)
    chances[said] = chances[said] / penalty
    return _cut((chances / chances.sum()).log(), p).softmax(dim=-1)


def _too_small(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    lowered = _penalised(logits, said, penalty)
    ordered, ids = lowered.softmax(dim=-1).sort(descending=True)
    out = ordered.cumsum(dim=-1) > p
    out[0] = False
    return lowered.index_fill(0, ids[out], -torch.inf).softmax(dim=-1)


def _above_p(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    lowered = _penalised(logits, said, penalty)
    chances = lowered.softmax(dim=-1)
    return lowered.masked_fill(chances < (1 - p), -torch.inf).softmax(dim=-1)


def _in_order(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    return nucleus(logits, said, p, penalty).sort(descending=True).values


def _not_renormalised(logits: Tensor, said: Tensor, p: float, penalty: float) -> Tensor:
    lowered = _penalised(logits, said, penalty)
    return lowered.softmax(dim=-1) * _cut(lowered, p).isfinite()


_MISTAKES = (
    Mistake(
        "no penalty",
        lambda logits, said, p, penalty: _cut(logits, p).softmax(dim=-1),
        "what was said before is as likely as ever",
        "First the penalty: divide the positive logits of `said`, multiply the negative ones.",
    ),
    Mistake(
        "no nucleus",
        lambda logits, said, p, penalty: _penalised(logits, said, penalty).softmax(dim=-1),
        "every token can still be drawn, the unlikely ones too",
        "Keep the fewest tokens that hold the share p, and give the others the probability 0.",
    ),
    Mistake(
        "the nucleus first",
        lambda logits, said, p, penalty: _penalised(_cut(logits, p), said, penalty).softmax(dim=-1),
        "you cut the nucleus before the penalty",
        "The penalty changes the probabilities, so the nucleus is cut after it.",
    ),
    Mistake(
        "always divided",
        _always_divided,
        "you divide negative logits too, which makes these tokens more likely",
        "-2 / 1.1 is above -2. Negative logits are multiplied by the penalty.",
    ),
    Mistake(
        "always multiplied",
        _always_multiplied,
        "you multiply positive logits too, which makes these tokens more likely",
        "Positive logits are divided by the penalty, negative ones multiplied.",
    ),
    Mistake(
        "subtracted",
        _subtracted,
        "you subtract the penalty",
        "It is a factor: divide positive logits by it, multiply negative ones.",
    ),
    Mistake(
        "once for every occurrence",
        _every_time,
        "a token that was said twice is punished twice",
        "Each token counts once: work on the set of them, said.unique().",
    ),
    Mistake(
        "on the probabilities",
        _on_probabilities,
        "you divide probabilities",
        "The penalty works on the logits, before any softmax.",
    ),
    Mistake(
        "a nucleus that is too small",
        _too_small,
        "the token that brings the sum to p is missing",
        "A token stays while the sum *before* it is below p: cumsum - probability < p.",
    ),
    Mistake(
        "a bound on each probability",
        _above_p,
        "you compare each probability with a bound",
        "Add up the sorted probabilities: a token stays while the sum before it is below p.",
    ),
    Mistake(
        "in sorted order",
        _in_order,
        "the probabilities stand in sorted order",
        "Place i belongs to token i: take the answer back by the ids that sort returns.",
    ),
    Mistake(
        "not made to sum to 1",
        _not_renormalised,
        "the probabilities no longer sum to 1",
        "Fill the logits outside with -inf, and then take the softmax: it renormalises.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    logits = torch.tensor([2.6, -0.4, 2.5, 1.2, -1.5, 0.9, -0.3, 1.1, -2.0, 0.4])
    said = torch.tensor([0, 4, 6, 0, 7])
    place = "One probability for each of the V tokens."
    expect_shape(call(candidate, logits, said, 0.9, 1.1), (10,), "the probabilities", place)

    def run(function: Callable[..., Any]) -> Any:
        cases = ((0.9, 1.1), (0.7, 1.6), (0.97, 2.5), (0.3, 1.0))
        return torch.stack([function(logits, said, *case) for case in cases])

    hint = "Penalty on the logits of `said`, nucleus, softmax, in this order."
    expect_right(run, candidate, nucleus, _MISTAKES, "the probabilities", hint)
    start = call(candidate, logits, said[:0], 0.9, 1.1)
    if not torch.allclose(start.double(), nucleus(logits, said[:0]).double(), atol=1e-5):
        fail("the first token of a text goes wrong", "Nothing was said yet: `said` may be empty.")
    same_dtype(lambda x: candidate(x, said, 0.9, 1.1), logits, what="the result")


def _by_hand(logits: Tensor, said: Tensor, p: float = 0.9, penalty: float = 1.1) -> Tensor:
    lowered = logits.clone()
    seen = said.unique()
    lowered[seen] = torch.where(lowered[seen] > 0, lowered[seen] / penalty, lowered[seen] * penalty)
    chances, ids = lowered.softmax(dim=-1).sort(descending=True)
    out = chances.cumsum(dim=-1) - chances >= p
    out[0] = False
    return lowered.index_fill(0, ids[out], -torch.inf).softmax(dim=-1)


def _by_loop(logits: Tensor, said: Tensor, p: float = 0.9, penalty: float = 1.1) -> Tensor:
    lowered = logits.clone()
    for i in set(said.tolist()):
        lowered[i] = logits[i] / penalty if logits[i] > 0 else logits[i] * penalty
    chances = lowered.softmax(dim=-1)
    kept, total = torch.zeros_like(chances), 0.0
    for i in chances.argsort(descending=True).tolist():
        if total >= p:
            break
        kept[i] = chances[i]
        total += float(chances[i])
    return kept / kept.sum()


def _by_mask(logits: Tensor, said: Tensor, p: float = 0.9, penalty: float = 1.1) -> Tensor:
    mask = torch.zeros_like(logits, dtype=torch.bool)
    mask[said] = True
    factor = torch.where(logits > 0, 1 / penalty, penalty).to(logits.dtype)
    chances = torch.where(mask, logits * factor, logits).softmax(dim=-1)
    ordered, ids = chances.sort(descending=True)
    ordered = ordered * (ordered.cumsum(dim=-1) - ordered < p)
    back = torch.zeros_like(chances).scatter(0, ids, ordered)
    return back / back.sum()


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="capfilt.nucleus",
        title="The captioner's next word",
        minutes=12,
        difficulty=2,
        reference=nucleus,
        check=_check,
        hints=(
            "Three steps in this order: penalty on the logits, nucleus, softmax.",
            "Sort the probabilities; a token leaves when those before it already sum to p.",
            "removed = chances.cumsum(-1) - chances >= p, in sorted order; fill with -inf by ids.",
        ),
        wrong=(*(mistake.wrong() for mistake in _MISTAKES),),
        right=(
            Right("by hand", _by_hand),
            Right("a loop", _by_loop),
            Right("a mask and scatter", _by_mask),
        ),
    ),
)
