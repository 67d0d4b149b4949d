"""[CLS], [ENC] or [DEC]: the first token says in which mode the text is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.models import med
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_shape
from vlcourse.teach.mistakes import Mistake, expect_right


def switch_first(tokens: Tensor, id: int) -> Tensor:
    """The reference: the library's own."""
    return med.switch_first(tokens, id)


def _in_place(tokens: Tensor, id: int) -> Tensor:
    tokens[:, 0] = id
    return tokens


def _written_into_a_copy(tokens: Tensor, id: int, place: Any) -> Tensor:
    new = tokens.clone()
    new[place] = id
    return new


def _wherever_it_stands(tokens: Tensor, id: int) -> Tensor:
    return tokens.where(tokens != tokens[:, :1], id)


def _as_floats(tokens: Tensor, id: int) -> Tensor:
    return torch.cat([torch.full((len(tokens), 1), float(id)), tokens[:, 1:].float()], dim=1)


_PLACE = "Position 0 of each row is overwritten; all others stay as they are."
_MISTAKES = (
    Mistake(
        "the first row",
        lambda tokens, id: _written_into_a_copy(tokens, id, 0),
        "you overwrite the whole first text",
        "tokens is (texts, positions): tokens[0] is a text, tokens[:, 0] each text's first token.",
    ),
    Mistake(
        "the first text only",
        lambda tokens, id: _written_into_a_copy(tokens, id, (0, 0)),
        "only the first text gets the new token",
        "Every text has a [CLS]: tokens[:, 0].",
    ),
    Mistake(
        "the last position",
        lambda tokens, id: _written_into_a_copy(tokens, id, (slice(None), -1)),
        "you overwrite the last position",
        _PLACE,
    ),
    Mistake(
        "wherever the id of [CLS] stands",
        _wherever_it_stands,
        "you overwrite an id wherever it stands, and it may stand twice",
        _PLACE,
    ),
    Mistake(
        "unchanged",
        lambda tokens, id: tokens.clone(),
        "the texts are as they were",
        "Position 0 of each row becomes id.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    tokens = torch.tensor([[7, 3, 7, 8, 0], [7, 4, 5, 6, 8], [7, 8, 0, 0, 0]])
    value = call(candidate, tokens, 9)
    longer = isinstance(value, Tensor) and value.shape == (3, 6)
    expect(
        not longer,
        "the texts are one token longer: you put the new token beside the old one",
        "The new token takes the place of [CLS], it is not added to the text.",
    )
    expect_shape(value, (3, 5), "the result", _PLACE)
    expect(
        value.dtype == tokens.dtype,
        f"the ids are {str(value.dtype).removeprefix('torch.')}, not int64",
        "Ids stay integers: torch.full_like(tokens[:, :1], id) has their type.",
    )

    def run(function: Callable[..., Any]) -> Any:
        return function(tokens.clone(), 9)

    expect_right(run, candidate, switch_first, _MISTAKES, "the result", _PLACE)
    checking.batch_of_one(candidate, switch_first, tokens, 11, what="the result")


def _clone(tokens: Tensor, id: int) -> Tensor:
    new = tokens.clone()
    new[:, 0] = id
    return new


def _where(tokens: Tensor, id: int) -> Tensor:
    first = torch.arange(tokens.shape[1]) == 0
    return torch.where(first, id, tokens)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip.switch_first",
        title="One token says what to do",
        minutes=5,
        difficulty=1,
        reference=switch_first,
        check=_check,
        hints=(
            "Only position 0 changes, in every row, and the caller's tensor stays as it is.",
            "tokens.clone() is a copy that you may write into: new[:, 0] = …",
            "torch.cat([torch.full_like(tokens[:, :1], id), tokens[:, 1:]], dim=1)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("in place", _in_place, "in place"),
            Wrong("put in front", lambda tokens, id: F.pad(tokens, (1, 0), value=id), "not added"),
            Wrong("appended", lambda tokens, id: F.pad(tokens, (0, 1), value=id), "not added"),
            Wrong("floating-point ids", _as_floats, "stay integers"),
        ),
        right=(
            Right("a copy", _clone),
            Right("torch.where", _where),
            Right("padded on the left", lambda t, id: F.pad(t[:, 1:], (1, 0), value=id)),
            Right("index_fill", lambda t, id: t.index_fill(1, torch.tensor([0]), id)),
        ),
    ),
)
