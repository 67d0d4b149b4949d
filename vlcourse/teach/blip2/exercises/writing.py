"""ITG: of the states over [queries ‖ text] only the text's predict, each the token that follows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect
from vlcourse.teach.mistakes import Mistake, expect_right

Head = Callable[[Tensor], Tensor]
SMOOTHING = 0.1


def itg_loss(states: Tensor, head: Head, queries: int, tokens: Tensor, mask: Tensor) -> Tensor:
    """The reference: by the library's targets.

    Args:
        states: (B, Q + L, D) of queries and text, the latter with [DEC] in the first place.
        head: (…, D) → (…, V) logits.
        queries: Q.
        tokens: (B, L) ids, [CLS] w … [SEP] and padding.
        mask: (B, L) bool, True for text.

    Returns:
        A scalar in nats, labels smoothed by 0.1.
    """
    targets = losses.lm_targets(tokens, mask)
    logits = head(states[:, queries:])  # (B, L, V)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=SMOOTHING)


def _with(
    slip: str, states: Tensor, head: Head, queries: int, tokens: Tensor, mask: Tensor
) -> Tensor:
    """The whole by hand, with one mistake or none."""
    first = queries - 1 if slip == "from the last query" else queries
    text = states[:, first : first + tokens.shape[1]]
    if slip == "from the front":
        text = states[:, : tokens.shape[1]]
    targets = tokens if slip == "padding learned" else tokens.masked_fill(~mask, -100)
    if slip == "[SEP] not learned":
        ends = mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True)
        targets = targets.masked_fill(ends, -100)
    if slip not in ("not shifted", "from the last query", "shifted twice", "wrong way"):
        text, targets = text[:, :-1], targets[:, 1:]
    if slip == "shifted twice":
        text, targets = text[:, :-2], targets[:, 2:]
    if slip == "wrong way":
        text, targets = text[:, 1:], targets[:, :-1]
    smoothing = 0.0 if slip == "not smoothed" else SMOOTHING
    loss = partial(F.cross_entropy, label_smoothing=smoothing)
    if slip == "summed":
        return loss(head(text).flatten(0, 1), targets.flatten(), reduction="sum")
    if slip == "mean of zeros":
        each = loss(head(text).mT, targets, reduction="none")
        return each.mean()
    if slip == "mean of texts":
        each = loss(head(text).mT, targets, reduction="none")
        return (each.sum(dim=1) / (targets != -100).sum(dim=1)).mean()
    return loss(head(text).flatten(0, 1), targets.flatten())


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, partial(_with, slip), what, hint)


_SHIFT = "Position t of the text predicts token t + 1: states[:, queries:-1] against tokens[:, 1:]."
_MISTAKES = (
    _mistake("not shifted", "each position predicts the token that it reads", _SHIFT),
    _mistake(
        "from the last query",
        "the last query predicts the first token",
        f"{_SHIFT} The queries predict nothing, and the first token is given.",
    ),
    _mistake(
        "from the front",
        "the queries' states predict the text",
        f"{_SHIFT} The first `queries` states are the queries'.",
    ),
    _mistake("shifted twice", "each position predicts the token after the next", _SHIFT),
    _mistake("wrong way", "each position predicts the token before it", _SHIFT),
    _mistake(
        "padding learned",
        "padding is learned",
        "What is padding gets the target -100: tokens.masked_fill(~mask, -100).",
    ),
    _mistake(
        "[SEP] not learned",
        "the end is not learned, so the text would never stop",
        "[SEP] is a target like the words: only padding gets -100.",
    ),
    _mistake(
        "not smoothed", "the labels are not smoothed", "F.cross_entropy(…, label_smoothing=0.1)."
    ),
    _mistake("summed", "the loss is a sum over the tokens", "cross_entropy's own mean, please."),
    _mistake(
        "mean of zeros",
        "the mean counts padding as tokens of loss 0",
        "cross_entropy leaves -100 out of its mean when it takes it itself.",
    ),
    _mistake(
        "mean of texts",
        "each text counts alike, however short it is",
        "One mean over all tokens of the batch: flatten first.",
    ),
)


class _Head(nn.Module):
    """A head that gives logits for any number of axes before the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x)


def _check(candidate: Callable[..., Any]) -> None:
    queries, length = 3, 7
    mask = torch.arange(length) < torch.tensor([[7], [4], [5]])
    tokens = torch.randint(0, 9, (3, length))
    tokens[:, 0], tokens[mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True)] = 9, 10
    tokens = tokens.masked_fill(~mask, 0)  # 0 is a word, too
    states, head = 2 * torch.randn(3, queries + length, 8), _Head()
    value = call(candidate, states, head, queries, tokens, mask)
    scalar = isinstance(value, Tensor) and value.numel() == 1
    expect(scalar, "the loss is no scalar", "F.cross_entropy takes the mean itself.")

    def run(function: Callable[..., Any]) -> Any:
        return function(states, head, queries, tokens, mask).reshape(())

    expect_right(run, candidate, itg_loss, _MISTAKES, "the loss", _SHIFT)

    def of_states(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda states: function(states, head, queries, tokens, mask)

    checking.differentiable(of_states(candidate), of_states(itg_loss), states, what="the loss")
    checking.batch_of_one(candidate, itg_loss, states, head, queries, tokens, mask, what="the loss")


def _cut(states: Tensor, head: Head, queries: int, tokens: Tensor, mask: Tensor) -> Tensor:
    logits, goal = head(states[:, queries:-1]), tokens[:, 1:].masked_fill(~mask[:, 1:], -100)
    return F.cross_entropy(logits.mT, goal, label_smoothing=0.1)


def _picked(states: Tensor, head: Head, queries: int, tokens: Tensor, mask: Tensor) -> Tensor:
    learned = mask[:, 1:]
    return F.cross_entropy(
        head(states[:, queries:-1][learned]), tokens[:, 1:][learned], label_smoothing=0.1
    )


def _by_hand(states: Tensor, head: Head, queries: int, tokens: Tensor, mask: Tensor) -> Tensor:
    log_p = head(states[:, queries:]).log_softmax(dim=-1)[:, :-1]  # (B, L - 1, V)
    right = log_p.gather(-1, tokens[:, 1:, None])[..., 0]
    each = -0.9 * right - 0.1 * log_p.mean(dim=-1)
    return each[mask[:, 1:]].mean()


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip2.itg_loss",
        title="Only the text predicts",
        minutes=8,
        difficulty=2,
        reference=itg_loss,
        check=_check,
        hints=(
            "Cut the queries' states away first; the head needs only the text's.",
            "The last state of the text has nothing to predict, and nobody predicts the first "
            "token: states[:, queries:-1] against tokens[:, 1:].",
            "F.cross_entropy(head(states[:, queries:-1]).flatten(0, 1), "
            "tokens[:, 1:].masked_fill(~mask[:, 1:], -100).flatten(), label_smoothing=0.1)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("detached", lambda *a: itg_loss(*a).detach(), ".detach()"),
            Wrong("a number", lambda *a: itg_loss(*a).item(), "takes the mean itself"),
        ),
        right=(
            Right("cut, then -100", _cut),
            Right("only the learned positions", _picked),
            Right("smoothing by hand", _by_hand),
        ),
    ),
)
