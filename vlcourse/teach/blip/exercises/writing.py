"""What the decoder learns at each position: the next token, where there is one to learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_close, expect_shape
from vlcourse.teach.mistakes import Mistake, expect_right


def lm_targets(tokens: Tensor, mask: Tensor, prompt: int) -> Tensor:
    """The reference: the library's own."""
    return losses.lm_targets(tokens, mask, prompt)


def _with(slip: str, tokens: Tensor, mask: Tensor, prompt: int) -> Tensor:
    """The whole by hand, with one mistake or none."""
    place = torch.arange(tokens.shape[1])
    given = {"prompt learned": 1, "off by one": prompt - 1, "one too many": prompt + 1}
    learned = place >= given.get(slip, prompt)
    if slip == "padding by id":
        learned = learned & (tokens != 0)
    elif slip != "padding learned":
        learned = learned & mask
    if slip == "end not learned":
        last = mask.sum(dim=1, keepdim=True) - 1
        learned = learned & (place != last)
    found = tokens.masked_fill(~learned, 0 if slip == "zeros" else -100)
    if slip == "not shifted":
        return found
    if slip == "shifted the other way":
        return F.pad(found[:, :-1], (1, 0), value=-100)
    if slip == "rolled":
        return tokens.roll(-1, dims=1).masked_fill(~learned.roll(-1, dims=1), -100).index_copy(
            1, torch.tensor([tokens.shape[1] - 1]), tokens[:, :1]
        )  # fmt: skip
    return F.pad(found[:, 1:], (0, 1), value=0 if slip == "zeros" else -100)


def _mistake(name: str, slip: str, what: str, hint: str) -> Mistake:
    return Mistake(name, partial(_with, slip), what, hint)


_NEXT = "Position t learns tokens[:, t + 1], where that is text and not prompt; else -100."
_MISTAKES = (
    _mistake(
        "not shifted",
        "not shifted",
        "each position learns its own token, which it has just read",
        "Position t learns the token at t + 1.",
    ),
    _mistake(
        "shifted the other way",
        "shifted the other way",
        "each position learns the token before it",
        "Position t learns the token at t + 1: begin at tokens[:, 1:].",
    ),
    _mistake(
        "padding learned",
        "padding learned",
        "the padding after a text is learned",
        "Only where mask is True there is text to learn.",
    ),
    _mistake(
        "padding by its id",
        "padding by id",
        "a word whose id is 0 is taken for padding",
        "0 is a word, too: only mask tells text from padding.",
    ),
    _mistake(
        "prompt learned",
        "prompt learned",
        "the prompt is learned, though it is given",
        "The first `prompt` tokens are never a target.",
    ),
    _mistake(
        "prompt one too short",
        "off by one",
        "the prompt's last token is learned",
        "Tokens 0 to prompt - 1 are given; token number `prompt` is the first to learn.",
    ),
    _mistake(
        "prompt one too long",
        "one too many",
        "the first word after the prompt is not learned",
        "Tokens 0 to prompt - 1 are given; token number `prompt` is the first to learn. "
        "Its place in the targets is one earlier.",
    ),
    _mistake(
        "end not learned",
        "end not learned",
        "the end of the text is not learned, so the model would never stop",
        "[SEP] is text, and a target like all the others.",
    ),
    _mistake(
        "zeros instead of -100",
        "zeros",
        "where nothing is to be learned stands 0, which is a word",
        "cross_entropy leaves out -100, and nothing else.",
    ),
    _mistake(
        "rolled",
        "rolled",
        "the last position learns the text's first token",
        "After the last token comes nothing: the last column is -100.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    tokens = torch.tensor([[7, 3, 4, 0, 5, 8], [7, 3, 6, 8, 0, 0], [7, 3, 8, 0, 0, 0]])
    mask = torch.arange(6) < torch.tensor([[6], [4], [3]])
    value = call(candidate, tokens, mask, 3)
    same = "As many targets as tokens: the last position has nothing to learn, -100."
    expect_shape(value, (3, 6), "the targets", same)
    expect(
        value.dtype == tokens.dtype,
        f"the targets are {str(value.dtype).removeprefix('torch.')}, not int64",
        "cross_entropy wants ids, and -100 is one of them: no division, no NaN.",
    )

    def run(function: Callable[..., Any]) -> Any:
        return function(tokens, mask, 3)

    expect_right(run, candidate, lm_targets, _MISTAKES, "the targets", _NEXT)
    noisy = tokens.masked_fill(~mask, 5)
    for prompt in (1, 2, 4):
        got, right = (f(noisy, mask, prompt) for f in (candidate, lm_targets))
        expect_close(got, right, f"the targets for a prompt of {prompt}", _NEXT)
    checking.batch_of_one(candidate, lm_targets, tokens, mask, 2, what="the targets")


def _shorter(tokens: Tensor, mask: Tensor, prompt: int) -> Tensor:
    return lm_targets(tokens, mask, prompt)[:, :-1]


def _in_place(tokens: Tensor, mask: Tensor, prompt: int) -> Tensor:
    tokens[~mask] = -100
    tokens[:, :prompt] = -100
    return F.pad(tokens[:, 1:], (0, 1), value=-100)


def _as_floats(tokens: Tensor, mask: Tensor, prompt: int) -> Tensor:
    return lm_targets(tokens, mask, prompt).float()


def _filled(tokens: Tensor, mask: Tensor, prompt: int) -> Tensor:
    targets = torch.full_like(tokens, -100)
    targets[:, :-1] = torch.where(mask[:, 1:], tokens[:, 1:], -100)
    targets[:, : prompt - 1] = -100
    return targets


def _by_loop(tokens: Tensor, mask: Tensor, prompt: int) -> Tensor:
    targets = torch.full_like(tokens, -100)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        targets[row, prompt - 1 : length - 1] = tokens[row, prompt:length]
    return targets


def _rolled(tokens: Tensor, mask: Tensor, prompt: int) -> Tensor:
    learned = mask & (torch.arange(tokens.shape[1]) >= prompt)
    return torch.where(learned, tokens, -100).roll(-1, dims=1)  # position 0 is never learned


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip.lm_targets",
        title="What the decoder learns",
        minutes=8,
        difficulty=2,
        reference=lm_targets,
        check=_check,
        hints=(
            "First decide which tokens are to be learned; then move them one place to the left.",
            "learned = mask & (torch.arange(tokens.shape[1]) >= prompt)",
            "F.pad(tokens.masked_fill(~learned, -100)[:, 1:], (0, 1), value=-100)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("a column short", _shorter, "As many targets as tokens"),
            Wrong("in place", _in_place, "in place"),
            Wrong("floating-point ids", _as_floats, "cross_entropy wants ids"),
        ),
        right=(
            Right("filled in", _filled),
            Right("a loop over the texts", _by_loop),
            Right("rolled", _rolled),
        ),
    ),
)
