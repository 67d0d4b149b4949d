"""A classifier written in words: one direction for each class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.evals.clip import ensemble as zero_shot_classifier
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_close, expect_shape
from vlcourse.teach.mistakes import Mistake, expect_right


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


_MISTAKES = (
    Mistake(
        "no norm at all",
        lambda prompts: prompts.mean(dim=1),
        "nothing is brought to length 1",
        "Normalise each prompt's embedding, and the mean once more.",
    ),
    Mistake(
        "no norm before the mean",
        lambda prompts: _unit(prompts.mean(dim=1)),
        "prompts with long embeddings outweigh the others",
        "Normalise each prompt's embedding before the mean.",
    ),
    Mistake(
        "no norm after the mean",
        lambda prompts: _unit(prompts).mean(dim=1),
        "the mean of unit vectors is shorter than 1, so classes are on unequal footing",
        "Normalise once more after the mean.",
    ),
    Mistake(
        "a sum without a norm",
        lambda prompts: _unit(prompts).sum(dim=1),
        "the sum of the prompts' directions is not of length 1",
        "Normalise the sum: F.normalize(…, dim=-1).",
    ),
    Mistake(
        "the first template only",
        lambda prompts: _unit(prompts[:, 0]),
        "only the first template counts",
        "Average over all templates: .mean(dim=1).",
    ),
    Mistake(
        "the largest over the templates",
        lambda prompts: _unit(_unit(prompts).amax(dim=1)),
        "the largest value of each channel is taken, not the mean",
        "Average over the templates: .mean(dim=1).",
    ),
    Mistake(
        "normalize without dim",
        lambda prompts: F.normalize(F.normalize(prompts).mean(dim=1)),
        "F.normalize without dim works along axis 1, here the templates",
        "Say which axis: an embedding is the last one, F.normalize(prompts, dim=-1).",
    ),
    Mistake(
        "normalised over the classes",
        lambda prompts: F.normalize(_unit(prompts).mean(dim=1), dim=0),
        "in the end the columns have length 1, not the rows",
        "A class's weight is a row: F.normalize(mean, dim=-1), not dim=0.",
    ),
    Mistake(
        "divided by the length of the matrix",
        lambda prompts: (mean := _unit(prompts).mean(dim=1)) / mean.norm(),
        "every class is divided by the length of the whole matrix",
        "Each row has a length of its own: mean.norm(dim=-1, keepdim=True).",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    prompts = torch.randn(4, 3, 8) * torch.tensor([1.0, 5.0, 0.2]).view(1, 3, 1)
    weights = call(candidate, prompts)
    axis = "Average over the templates, which are axis 1: (classes, width) is left."
    expect_shape(weights, (4, 8), "the weight matrix", axis)

    def run(function: Callable[..., Any]) -> Any:
        return function(prompts)

    expect_right(run, candidate, zero_shot_classifier, _MISTAKES, "the weight matrix", axis)
    checking.batch_of_one(candidate, zero_shot_classifier, prompts, what="the weight matrix")
    expect_close(
        candidate(prompts[:, :1]),
        zero_shot_classifier(prompts[:, :1]),
        "the weight matrix for a single template",
        "An axis of length 1 stays an axis: no .squeeze() without saying which.",
    )
    expect_close(
        candidate(prompts.repeat(1, 2, 1)[:, :5]),
        zero_shot_classifier(prompts.repeat(1, 2, 1)[:, :5]),
        "the weight matrix for five templates",
        "Take the number of templates from the tensor: prompts.shape[1].",
    )


def _mean_over_classes(prompts: Tensor) -> Tensor:
    return _unit(_unit(prompts).mean(dim=0))


def _squeezed(prompts: Tensor) -> Tensor:
    return zero_shot_classifier(prompts).squeeze()


def _in_place(prompts: Tensor) -> Tensor:
    prompts /= prompts.norm(dim=-1, keepdim=True)
    return _unit(prompts.mean(dim=1))


def _three_templates(prompts: Tensor) -> Tensor:
    first, *others = (_unit(prompts[:, i % prompts.shape[1]]) for i in range(3))
    return _unit(first + sum(others))


def _lengths_by_hand(prompts: Tensor) -> Tensor:
    mean = (prompts / prompts.norm(dim=-1, keepdim=True)).mean(dim=1)
    return mean / mean.square().sum(dim=-1, keepdim=True).sqrt()


def _sum_and_norm(prompts: Tensor) -> Tensor:
    return _unit(_unit(prompts).sum(dim=1))


def _by_loop(prompts: Tensor) -> Tensor:
    return torch.stack([F.normalize(_unit(rows).mean(dim=0), dim=0) for rows in prompts])


def _by_einsum(prompts: Tensor) -> Tensor:
    total = torch.einsum("ckd,ck->cd", prompts, 1 / prompts.norm(dim=-1))
    return total / total.norm(dim=-1)[:, None]


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="clip.zero_shot_classifier",
        title="A classifier written in words",
        minutes=6,
        difficulty=1,
        reference=zero_shot_classifier,
        check=_check,
        hints=(
            "A class's weight is the direction that its prompts agree on.",
            "Normalise each prompt (dim=-1), average over the templates (axis 1), normalise again.",
            "F.normalize(F.normalize(prompts, dim=-1).mean(dim=1), dim=-1)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("mean over the classes", _mean_over_classes, "axis 1"),
            Wrong("squeezed", _squeezed, "no .squeeze()"),
            Wrong("normalised in place", _in_place, "in place"),
            Wrong("three templates", _three_templates, "number of templates from the tensor"),
        ),
        right=(
            Right("lengths by hand", _lengths_by_hand),
            Right("a sum, then the norm", _sum_and_norm),
            Right("a loop over the classes", _by_loop),
            Right("einsum", _by_einsum),
        ),
    ),
)
