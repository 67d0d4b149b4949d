"""A text's feature: the state at its end of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.models.clip import eot_pooling
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_close, expect_shape
from vlcourse.teach.mistakes import Mistake, expect_right


def _at(states: Tensor, position: Tensor) -> Tensor:
    return states[torch.arange(len(states)), position]


def _by_counting(states: Tensor, tokens: Tensor) -> Tensor:
    return _at(states, (tokens != 0).sum(dim=-1) - 1)


_MISTAKES = (
    Mistake(
        "the last column",
        lambda states, tokens: states[:, -1],
        "you take the last column, which is padding in short texts",
        "Find each row's end of text: it has the largest id, so argmax over the ids.",
    ),
    Mistake(
        "the first token",
        lambda states, tokens: states[:, 0],
        "you take the first token, as BERT does with [CLS]",
        "The mask is causal: the first token has read nothing. Only the last one has read all.",
    ),
    Mistake(
        "the mean",
        lambda states, tokens: states.mean(dim=1),
        "you average all positions, padding included",
        "CLIP takes one position of each text: that of its end of text.",
    ),
    Mistake(
        "the largest state",
        lambda states, tokens: states.amax(dim=1),
        "you take the largest value of each channel over all positions",
        "The argmax is one of the ids, and says where to read the states.",
    ),
    Mistake(
        "one place too early",
        lambda states, tokens: _at(states, tokens.argmax(dim=-1) - 1),
        "you are one position too early, at the last word instead of the end of text",
        "argmax counts from 0, as indexing does: subtract nothing.",
    ),
    Mistake(
        "one place too late",
        lambda states, tokens: _at(states, (tokens.argmax(dim=-1) + 1) % tokens.shape[1]),
        "you are one position too late, after the end of text",
        "argmax counts from 0, as indexing does: add nothing.",
    ),
    Mistake(
        "one position for all",
        lambda states, tokens: states[:, tokens.argmax(dim=-1)[0]],
        "the position of the first text is used for all of them",
        "Each text ends elsewhere: argmax(dim=-1) looks in each row, argmax() in all at once.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    states = torch.randn(3, 6, 4)
    tokens = torch.tensor([[98, 5, 99, 0, 0, 0], [98, 7, 8, 9, 99, 0], [98, 3, 99, 0, 0, 0]])
    pooled = call(candidate, states, tokens)
    each = "Rows and positions go together: states[torch.arange(len(states)), position]."
    expect_shape(pooled, (3, 4), "the feature matrix", f"One state a text: (texts, width). {each}")

    def run(function: Callable[..., Any]) -> Any:
        return function(states, tokens)

    expect_right(run, candidate, eot_pooling, _MISTAKES, "the feature matrix", each)
    longer, full = torch.randn(2, 5, 3), torch.tensor([[719, 1, 2, 3, 720], [719, 9, 720, 0, 0]])
    expect_close(
        candidate(longer, full),
        eot_pooling(longer, full),
        "the feature matrix for another vocabulary",
        "The end of text is the largest id, whichever number that is: tokens.argmax(dim=-1).",
    )
    zeros = torch.tensor([[719, 0, 2, 720, 0], [719, 0, 720, 0, 0]])
    expect_close(
        candidate(longer, zeros),
        eot_pooling(longer, zeros),
        "the feature matrix of texts with “!” in them",
        "0 is the padding and also the id of “!”: do not count zeros, find the largest id.",
    )
    checking.batch_of_one(candidate, eot_pooling, states, tokens, what="the feature matrix")
    checking.differentiable(candidate, eot_pooling, states, tokens, what="the features")


def _id_99(states: Tensor, tokens: Tensor) -> Tensor:
    return _at(states, (tokens == 99).int().argmax(dim=-1))


def _all_pairs(states: Tensor, tokens: Tensor) -> Tensor:
    return states[:, tokens.argmax(dim=-1)]


def _without_dim(states: Tensor, tokens: Tensor) -> Tensor:
    return _at(states, tokens.argmax())


def _squeezed(states: Tensor, tokens: Tensor) -> Tensor:
    return eot_pooling(states, tokens).squeeze()


def _detached(states: Tensor, tokens: Tensor) -> Tensor:
    return torch.tensor(eot_pooling(states, tokens).tolist())


def _over_texts(states: Tensor, tokens: Tensor) -> Tensor:
    return _at(states, tokens[:, : len(states)].argmax(dim=0))


def _by_gather(states: Tensor, tokens: Tensor) -> Tensor:
    position = tokens.argmax(dim=-1).view(-1, 1, 1).expand(-1, 1, states.shape[-1])
    return states.gather(1, position).squeeze(1)


def _by_take_along_dim(states: Tensor, tokens: Tensor) -> Tensor:
    return torch.take_along_dim(states, tokens.argmax(-1)[:, None, None], dim=1)[:, 0]


def _by_loop(states: Tensor, tokens: Tensor) -> Tensor:
    return torch.stack([state[row.argmax()] for state, row in zip(states, tokens, strict=True)])


def _by_one_hot(states: Tensor, tokens: Tensor) -> Tensor:
    here = F.one_hot(tokens.argmax(dim=-1), tokens.shape[1]).to(states.dtype)  # (B, L)
    return torch.einsum("bl,bld->bd", here, states)


def _by_mask(states: Tensor, tokens: Tensor) -> Tensor:
    return states[tokens == tokens.max(dim=-1, keepdim=True).values]


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="clip.eot_pooling",
        title="A text's feature is the state at its end",
        minutes=6,
        difficulty=1,
        reference=eot_pooling,
        check=_check,
        hints=(
            "Under a causal mask only one position has read the whole text.",
            "The end of text has the largest id of the vocabulary: argmax over each row of ids.",
            "states[torch.arange(len(states)), tokens.argmax(dim=-1)]",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("the id 99", _id_99, "whichever number that is"),
            Wrong("counting what is not 0", _by_counting, "do not count zeros"),
            Wrong("every text at every position", _all_pairs, "One state a text"),
            Wrong("argmax without dim", _without_dim, "argmax() in all at once"),
            Wrong("argmax over the texts", _over_texts, "Rows and positions go together"),
            Wrong("squeezed", _squeezed, "no .squeeze()"),
            Wrong("a new tensor", _detached, "torch.tensor()"),
        ),
        right=(
            Right("gather", _by_gather),
            Right("take_along_dim", _by_take_along_dim),
            Right("a loop", _by_loop),
            Right("one-hot and einsum", _by_one_hot),
            Right("a mask", _by_mask),
        ),
    ),
)
