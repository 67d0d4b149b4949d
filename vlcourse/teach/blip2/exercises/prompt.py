"""A soft prompt: vectors among those of the words, what is learned there, and where all stand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.models.soft_prompt import insert, insert_targets
from vlcourse.teach.checking import (
    Exercise,
    Right,
    Wrong,
    call,
    differentiable,
    expect,
    expect_shape,
)
from vlcourse.teach.mistakes import Mistake, expect_right

Three = tuple[Tensor, Tensor, Tensor]


def soft_prompt(soft: Tensor, words: Tensor, targets: Tensor, at: int) -> Three:
    """The reference: the library's own.

    Args:
        soft: (B, Q, d) what the queries saw, as wide as the language model's vectors.
        words: (B, L, d) vectors of the tokens.
        targets: (B, L) the token that follows each, or -100 where nothing is learned.
        at: how many tokens stand before the soft prompt.

    Returns:
        The whole (B, L + Q, d), its targets (B, L + Q), and the positions (L + Q,).
    """
    x, _ = insert(words, soft, at)
    return x, insert_targets(targets, soft.shape[1], at), torch.arange(x.shape[1])


def _with(slip: str, soft: Tensor, words: Tensor, targets: Tensor, at: int) -> Three:
    """The whole by hand, with one mistake or none."""
    queries = soft.shape[1]
    x = torch.cat([words[:, :at], soft, words[:, at:]], dim=1)
    if slip == "in front":
        x = torch.cat([soft, words], dim=1)
    if slip == "behind":
        x = torch.cat([words, soft], dim=1)
    fill = 0 if slip == "zeros learned" else -100
    nothing = targets.new_full((len(targets), queries), fill)
    where = max(at - 1, 0)
    if slip == "target not moved":
        where = at
    if slip == "one late" and at == 0:
        where = 1
    labels = torch.cat([targets[:, :where], nothing, targets[:, where:]], dim=1)
    if slip == "labels in front":
        labels = torch.cat([nothing, targets], dim=1)
    if slip == "shifted again":
        labels = F.pad(labels[:, 1:], (0, 1), value=-100)
    places = torch.arange(x.shape[1])
    if slip == "text restarts":
        places = torch.cat([places[:at], places[:queries], places[at:-queries]])
    if slip == "queries share a place":
        before = places[:at]
        places = torch.cat([before, torch.full((queries,), at), places[at + 1 : -queries + 1]])
    if slip == "from 1":
        places = places + 1
    return x, labels, places


def _flat(three: Three) -> Tensor:
    return torch.cat([each.double().flatten() for each in three])


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, lambda *a: _flat(_with(slip, *a)), what, hint)


_LABELS = (
    "The word after the prompt is the business of the prompt's last vector: its target moves there "
    "from the last token before the prompt, and all else there is -100."
)
_PLACES = "The language model counts all vectors alike: torch.arange(L + Q)."
_ORDER = "[the first `at` tokens ‖ soft ‖ the other tokens]."
_MISTAKES = (
    _mistake("in front", "the prompt stands in front of all tokens, whatever `at` says", _ORDER),
    _mistake("behind", "the prompt stands behind the text", _ORDER),
    _mistake(
        "zeros learned",
        "at the prompt the token 0 is learned",
        "Nothing is learned where the next one is no word: -100, not 0.",
    ),
    _mistake(
        "target not moved",
        "the last token before the prompt learns the word after it, and the prompt nothing",
        _LABELS,
    ),
    _mistake(
        "one late",
        "the first target stands before the prompt, though no token does",
        "With at = 0 the whole prompt comes first, and the text's targets follow it unchanged.",
    ),
    _mistake("labels in front", "the targets stand as if `at` were 0", _LABELS),
    _mistake(
        "shifted again",
        "the targets are moved once too often",
        "`targets` holds the *next* token of each position already.",
    ),
    _mistake(
        "text restarts",
        "positions begin again at 0",
        f"{_PLACES} (In the Q-Former the text began at 0; here it does not.)",
    ),
    _mistake(
        "queries share a place",
        "all vectors of the prompt have one position",
        _PLACES,
    ),
    _mistake("from 1", "positions are counted from 1", _PLACES),
)


def _check(candidate: Callable[..., Any]) -> None:
    soft, words = torch.randn(2, 3, 4), torch.randn(2, 6, 4)
    targets = torch.tensor([[5, 3, 8, 2, -100, -100], [6, 4, 9, 7, 1, 2]])
    for at in (0, 1, 2):
        arguments = (soft, words, targets, at)
        value = call(candidate, *arguments)
        three = isinstance(value, (tuple, list)) and len(value) == 3
        said = "Return all three: return x, labels, positions."
        expect(three, "the answer is not three tensors", said)
        x, labels, places = value
        expect_shape(x, (2, 9, 4), f"x with at = {at}", _ORDER)
        expect_shape(labels, (2, 9), f"the targets with at = {at}", "As many targets as vectors.")
        ids = f"the targets with at = {at} are {str(labels.dtype).removeprefix('torch.')}"
        expect(labels.dtype == torch.int64, f"{ids}, not int64", "targets.new_full((B, Q), -100).")
        expect_shape(places, (9,), f"the positions with at = {at}", _PLACES)

        def run(function: Callable[..., Any], given: Any = arguments) -> Any:
            found = function(*given)
            return found if isinstance(found, Tensor) else _flat(found)

        what = f"x, targets and positions in a row, with at = {at}"
        expect_right(run, candidate, soft_prompt, _MISTAKES, what, f"{_ORDER} {_LABELS}")
    one = soft[:1], words[:1], targets[:1], 1
    same = torch.equal(_flat(candidate(*one)), _flat(soft_prompt(*one)))
    expect(same, "a batch of one comes out wrong", "No .squeeze() without saying which axis.")

    def whole(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda soft, words: function(soft, words, targets, 1)[0]

    differentiable(whole(candidate), whole(soft_prompt), soft, words, what="x")


def _filled(soft: Tensor, words: Tensor, targets: Tensor, at: int) -> Three:
    batch, queries, width = soft.shape
    length = words.shape[1] + queries
    is_soft = (torch.arange(length) >= at) & (torch.arange(length) < at + queries)
    x = words.new_empty(batch, length, width)
    x[:, is_soft], x[:, ~is_soft] = soft, words
    labels = targets.new_full((batch, length), -100)
    labels[:, ~is_soft] = targets
    if at:
        labels[:, at + queries - 1], labels[:, at - 1] = targets[:, at - 1], -100
    return x, labels, torch.arange(length)


def _from_tokens(soft: Tensor, words: Tensor, targets: Tensor, at: int) -> Three:
    nothing = torch.full(soft.shape[:2], -100)
    parts = [nothing, targets] if at == 0 else [targets[:, : at - 1], nothing, targets[:, at - 1 :]]
    x = torch.cat([*words.split([at, words.shape[1] - at], dim=1)], dim=1)
    x = torch.cat([x[:, :at], soft, x[:, at:]], dim=1)
    return x, torch.cat(parts, dim=1), torch.tensor(range(x.shape[1]))


def _as_a_list(soft: Tensor, words: Tensor, targets: Tensor, at: int) -> Any:
    return [*_with("", soft, words, targets, at)]


def _detached(soft: Tensor, words: Tensor, targets: Tensor, at: int) -> Three:
    return _with("", soft.detach(), words, targets, at)


def _as_floats(soft: Tensor, words: Tensor, targets: Tensor, at: int) -> Three:
    x, labels, places = _with("", soft, words, targets, at)
    return x, labels.float(), places


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip2.soft_prompt",
        title="A prompt of no words",
        minutes=8,
        difficulty=2,
        reference=soft_prompt,
        check=_check,
        hints=(
            "Put x together first; then ask of each of its vectors: what comes next, and is it a "
            "word?",
            "Before the first word after the prompt stands the prompt's last vector: with at ≥ 1 "
            "the -100s go in before the target number at - 1.",
            "where = max(at - 1, 0); torch.cat([targets[:, :where], nothing, targets[:, where:]], "
            "dim=1), and torch.arange(L + Q) for the positions.",
        ),
        wrong=(
            *(
                Wrong(mistake.name, partial(_with, mistake.name), mistake.hint)
                for mistake in _MISTAKES
            ),
            Wrong("x alone", lambda *a: soft_prompt(*a)[0], "return x, labels, positions"),
            Wrong("soft detached", _detached, ".detach()"),
            Wrong("floating-point targets", _as_floats, "new_full"),
        ),
        right=(
            Right("filled in", _filled),
            Right("in two cases", _from_tokens),
            Right("a list", _as_a_list),
        ),
    ),
)
