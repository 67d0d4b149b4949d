"""Soft targets: what the momentum encoders think of the pairs, mixed with the labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_close, expect_shape
from vlcourse.teach.mistakes import Mistake, expect_right


def soft_targets(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    """The reference: the library's own."""
    return losses.soft_targets(similarity, positives, alpha)


def _labels(similarity: Tensor, positives: Tensor) -> Tensor:
    return positives.to(similarity.dtype) / positives.sum(dim=1, keepdim=True)


def _with(slip: str, similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    """The whole by hand, with one mistake or none."""
    labels = positives.float() if slip == "not shared" else _labels(similarity, positives)
    dim = 0 if slip == "columns" else 1
    teacher = similarity.softmax(dim=dim)
    if slip == "no softmax":
        teacher = similarity
    if slip == "log_softmax":
        teacher = similarity.log_softmax(dim=dim)
    if slip == "argmax":
        teacher = F.one_hot(similarity.argmax(dim=1), similarity.shape[1]).to(similarity.dtype)
    mixed = {
        "swapped": (1 - alpha) * teacher + alpha * labels,
        "added": alpha * teacher + labels,
        "teacher only": teacher,
        "labels only": labels,
    }.get(slip, alpha * teacher + (1 - alpha) * labels)
    return mixed.detach()


def _mistake(name: str, slip: str, what: str, hint: str) -> Mistake:
    def function(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
        return _with(slip, similarity, positives, alpha)

    return Mistake(name, function, what, hint)


_MIX = "alpha times the teacher's softmax, plus (1 - alpha) times the labels."
_MISTAKES = (
    _mistake("weights swapped", "swapped", "alpha weighs the labels, not the teacher", _MIX),
    _mistake("labels not weakened", "added", "the rows sum to more than 1", _MIX),
    _mistake("teacher only", "teacher only", "the labels do not count at all", _MIX),
    _mistake("labels only", "labels only", "the teacher does not count at all", _MIX),
    _mistake(
        "softmax forgotten",
        "no softmax",
        "the teacher's similarities are no probabilities",
        "Take the softmax of each row first.",
    ),
    _mistake(
        "logarithm",
        "log_softmax",
        "the teacher's part is the logarithm of a probability",
        "Targets are probabilities: softmax, not log_softmax.",
    ),
    _mistake(
        "softmax over the columns",
        "columns",
        "the softmax runs down the columns",
        "A row is one question: softmax(dim=1).",
    ),
    _mistake(
        "the teacher's favourite only",
        "argmax",
        "only the teacher's favourite counts",
        "The softmax says how well each column fits; an argmax throws that away.",
    ),
    _mistake(
        "positives not shared",
        "not shared",
        "a row with two positives gets the label twice",
        "Divide each row of positives by their number, so that it sums to 1.",
    ),
)
_TEACHER = "A teacher is not taught by its pupil: targets are constants, .detach() them."


def _check(candidate: Callable[..., Any]) -> None:
    similarity = 2 * torch.randn(4, 6)
    positives = torch.eye(4, 6, dtype=torch.bool)
    positives[1, 4] = positives[2, 5] = True
    value = call(candidate, similarity, positives, 0.3)
    expect_shape(value, (4, 6), "the targets", "One target for each entry of the matrix.")

    def run(function: Callable[..., Any]) -> Any:
        return function(similarity, positives, 0.3)

    expect_right(run, candidate, soft_targets, _MISTAKES, "the targets", _MIX)
    for alpha in (0.0, 0.5, 1.0):
        got, right = (f(similarity, positives, alpha) for f in (candidate, soft_targets))
        expect_close(got, right, f"the targets at alpha = {alpha:g}", _MIX)
    leaf = similarity.clone().requires_grad_()
    expect(
        not candidate(leaf, positives, 0.3).requires_grad,
        "a gradient flows back into the teacher",
        _TEACHER,
    )
    checking.batch_of_one(candidate, soft_targets, similarity, positives, 0.3, what="the targets")
    checking.stable(candidate, soft_targets, similarity, positives, 0.3, what="the targets")


def _taught(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    return alpha * similarity.softmax(dim=1) + (1 - alpha) * _labels(similarity, positives)


def _exponentials(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    large = similarity.exp()
    teacher = large / large.sum(dim=1, keepdim=True)
    return (alpha * teacher + (1 - alpha) * _labels(similarity, positives)).detach()


def _in_place(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    targets = soft_targets(similarity, positives, alpha)
    similarity -= similarity.amax(dim=1, keepdim=True)
    return targets


@torch.no_grad()
def _without_gradient(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    return torch.lerp(_labels(similarity, positives), similarity.softmax(dim=1), alpha)


def _by_rows(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    rows = []
    for row, right in zip(similarity.detach(), positives, strict=True):
        rows.append(alpha * row.softmax(0) + (1 - alpha) * right / right.sum())
    return torch.stack(rows)


def _normalised(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    labels = F.normalize(positives.float(), p=1, dim=1)
    return alpha * F.softmax(similarity.detach(), dim=-1) + (1 - alpha) * labels


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip.soft_targets",
        title="Soft targets",
        minutes=6,
        difficulty=1,
        reference=soft_targets,
        check=_check,
        hints=(
            "Two distributions a row, mixed; so each row sums to 1.",
            "Labels: positives.float() / positives.sum(dim=1, keepdim=True).",
            "(alpha * similarity.softmax(dim=1) + (1 - alpha) * labels).detach()",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("with a gradient", _taught, "not taught by its pupil"),
            Wrong("exp and sum by hand", _exponentials, "subtract the largest first"),
            Wrong("similarities changed", _in_place, "in place"),
        ),
        right=(
            Right("lerp under no_grad", _without_gradient),
            Right("a loop over the rows", _by_rows),
            Right("labels by F.normalize", _normalised),
        ),
    ),
)
