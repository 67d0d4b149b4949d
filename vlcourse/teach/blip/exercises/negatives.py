"""Hard negatives: the more a wrong pair looks right, the likelier it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_shape
from vlcourse.teach.mistakes import Mistake, expect_right


def negative_odds(similarity: Tensor, same: Tensor) -> Tensor:
    """The reference: the weights that :func:`vlcourse.losses.hard_negatives` draws with.

    Args:
        similarity: (n, N) logits.
        same: (n, N) bool, True where a column matches the row.

    Returns:
        (n, N), 0 where a column matches. Rows need not sum to 1.
    """
    return (similarity.softmax(dim=1) + 1e-4).masked_fill(same, 0.0)


def _with(slip: str, similarity: Tensor, same: Tensor) -> Tensor:
    """The whole, with one mistake or none."""
    own = torch.eye(*same.shape, dtype=torch.bool)
    masked = similarity.masked_fill(same, float("-inf"))
    found = {
        "not masked": similarity.softmax(dim=1) + 1e-4,
        "own only": (similarity.softmax(dim=1) + 1e-4).masked_fill(own, 0.0),
        "mask the other way": (similarity.softmax(dim=1) + 1e-4).masked_fill(~same, 0.0),
        "added after": similarity.softmax(dim=1).masked_fill(same, 0.0) + 1e-4,
        "not added": similarity.softmax(dim=1).masked_fill(same, 0.0),
        "masked first": (masked.softmax(dim=1) + 1e-4).masked_fill(same, 0.0),
        "uniform": (~same).to(similarity.dtype),
        "hardest": F.one_hot(masked.argmax(dim=1), same.shape[1]).to(similarity.dtype),
        "columns": (similarity.softmax(dim=0) + 1e-4).masked_fill(same, 0.0),
        "easiest": ((-similarity).softmax(dim=1) + 1e-4).masked_fill(same, 0.0),
    }
    return found[slip]


def _shares(odds: Tensor) -> Tensor:
    return odds / odds.sum(dim=1, keepdim=True)


def _mistake(name: str, slip: str, what: str, hint: str) -> Mistake:
    function = partial(_with, slip)
    return Mistake(name, function, what, hint)


_ORDER = "In this order: softmax of the whole row, + 1e-4, then 0 where same is True."
_MISTAKES = (
    _mistake(
        "matches not excluded",
        "not masked",
        "the right text itself can be drawn as a wrong one",
        "Set the weights to 0 wherever same is True: .masked_fill(same, 0.0).",
    ),
    _mistake(
        "the diagonal only",
        "own only",
        "a caption that stands twice in the batch becomes a negative of its own picture",
        "Not only the diagonal matches: use same.",
    ),
    _mistake(
        "mask the other way",
        "mask the other way",
        "only matching pairs can be drawn",
        "same is True where nothing may be drawn: .masked_fill(same, 0.0).",
    ),
    _mistake(
        "1e-4 after the mask",
        "added after",
        "matches get a weight of 1e-4, so they are drawn now and then",
        _ORDER,
    ),
    _mistake(
        "masked before the softmax",
        "masked first",
        "the matches are taken out before the softmax",
        f"{_ORDER} So a sure model draws more evenly.",
    ),
    _mistake(
        "uniform",
        "uniform",
        "all negatives are equally likely, hard or not",
        "The softmax of the similarities makes those likely that look right.",
    ),
    _mistake(
        "the hardest only",
        "hardest",
        "only the hardest negative is ever drawn",
        "Draw in proportion to the softmax: the hardest one may be right after all.",
    ),
    _mistake(
        "softmax over the columns",
        "columns",
        "the softmax runs down the columns",
        "A row chooses among its columns: softmax(dim=1).",
    ),
    _mistake(
        "the easiest",
        "easiest",
        "the less similar a pair is, the likelier it is drawn",
        "Hard negatives are the similar ones: no minus sign.",
    ),
    _mistake("1e-4 forgotten", "not added", "the weights lack the 1e-4", _ORDER),
)


def _check(candidate: Callable[..., Any]) -> None:
    similarity = 2 * torch.randn(5, 6)
    same = torch.eye(5, 6, dtype=torch.bool)
    same[0, 5] = same[3, 1] = same[1, 3] = True
    value = call(candidate, similarity, same)
    expect_shape(value, (5, 6), "the weights", "One weight for each pair of a row and a column.")
    expect(
        bool((value.detach() >= 0).all()),
        "some weights are negative",
        "Similarities are no weights yet: take their softmax.",
    )

    def run(function: Callable[..., Any]) -> Any:
        return _shares(function(similarity, same))

    expect_right(run, candidate, negative_odds, _MISTAKES, "the share of each column", _ORDER)
    # A sure model: nothing is left for the others but 1e-4 each.
    sure = torch.eye(5, 6) * 300
    odds = call(candidate, sure, same)
    expect(
        bool((odds.sum(dim=1) > 0).all()),
        "of a sure model's row nothing can be drawn: all weights are 0",
        "Add 1e-4 to each probability, so that a draw is always possible.",
    )
    shared = _of_shares(candidate), _of_shares(negative_odds)
    checking.stable(*shared, similarity, same, what="the share of each column")
    checking.batch_of_one(*shared, similarity, same, what="the share of each column")


def _of_shares(function: Callable[..., Any]) -> Callable[..., Tensor]:
    def shares(similarity: Tensor, same: Tensor) -> Tensor:
        return _shares(function(similarity, same))

    return shares


def _exponentials(similarity: Tensor, same: Tensor) -> Tensor:
    large = similarity.exp()
    return (large / large.sum(dim=1, keepdim=True) + 1e-4).masked_fill(same, 0.0)


def _drawn(similarity: Tensor, same: Tensor) -> Tensor:
    return torch.multinomial(negative_odds(similarity, same), 1)[:, 0]


def _in_place(similarity: Tensor, same: Tensor) -> Tensor:
    similarity[same] = -1e4
    return similarity.softmax(dim=1)


def _normalised(similarity: Tensor, same: Tensor) -> Tensor:
    odds = (F.softmax(similarity, dim=-1) + 1e-4) * ~same
    return F.normalize(odds, p=1, dim=1)


def _assigned(similarity: Tensor, same: Tensor) -> Tensor:
    odds = torch.softmax(similarity, 1) + 0.0001
    odds[same] = 0
    return odds


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip.hard_negatives",
        title="Hard negatives",
        minutes=8,
        difficulty=2,
        reference=negative_odds,
        check=_check,
        hints=(
            "Similar pairs are likely, matching ones impossible, and none of the rest is.",
            "similarity.softmax(dim=1) + 1e-4 comes first, the mask last.",
            "(similarity.softmax(dim=1) + 1e-4).masked_fill(same, 0.0)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("similarities as weights", lambda s, same: s * ~same, "take their softmax"),
            Wrong("drawn already", _drawn, "One weight for each pair"),
            Wrong("exp and sum by hand", _exponentials, "subtract the largest first"),
            Wrong("similarities changed", _in_place, "in place"),
        ),
        right=(
            Right("rows that sum to 1", _normalised),
            Right("0 by assignment", _assigned),
            Right(
                "torch.where",
                lambda s, same: torch.where(same, 0.0, s.log_softmax(1).exp() + 1e-4),
            ),
        ),
    ),
)
