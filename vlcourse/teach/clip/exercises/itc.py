"""The contrastive loss, from the paper's pseudo-code (Radford et al. 2021, figure 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vlcourse import losses
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_close, expect_shape, fail
from vlcourse.teach.clip.exercises import itc_answers as answers
from vlcourse.teach.mistakes import Mistake, expect_right


def itc_loss(image: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """The reference: the library's own loss."""
    return losses.itc(image, text, scale)


_MISTAKES = (
    Mistake(
        "one direction only",
        answers.images_only,
        "only the images look for their texts",
        "The loss is symmetric: average it with the same loss of logits.T.",
    ),
    Mistake(
        "softmax along the wrong axis",
        lambda image, text, scale: answers.images_only(text, image, scale),
        "only the texts look for their images: the softmax runs down the columns each time",
        "The loss is symmetric: one softmax along the rows (dim=1), one along the columns.",
    ),
    Mistake(
        "the sum of the directions",
        lambda image, text, scale: 2 * losses.itc(image, text, scale),
        "the two directions are added",
        "Average them: divide the sum by two.",
    ),
    Mistake(
        "the sum over the rows",
        lambda image, text, scale: len(image) * losses.itc(image, text, scale),
        "the loss is the sum over the pairs, so it grows with the batch",
        "Take the mean over the pairs, as F.cross_entropy does by itself.",
    ),
    Mistake(
        "embeddings not normalised",
        answers.not_normalised,
        "the embeddings are not brought to length 1, so long vectors win",
        "Divide each row by its length first: F.normalize(x, dim=-1).",
    ),
    Mistake(
        "normalised over the batch",
        answers.normalised_over_the_batch,
        "the columns have length 1, not the rows",
        "An embedding is a row: F.normalize(x, dim=-1), not dim=0.",
    ),
    Mistake(
        "divided by the length of the matrix",
        answers.matrix_norm,
        "each embedding is divided by the length of the whole matrix",
        "Each row has a length of its own: x.norm(dim=-1, keepdim=True).",
    ),
    Mistake(
        "the texts not normalised",
        answers.texts_not_normalised,
        "only the images are brought to length 1",
        "Normalise both sides: a long text would win over all the others.",
    ),
    Mistake(
        "divided by the scale",
        lambda image, text, scale: losses.itc(image, text, 1 / scale),
        "the similarities are divided by the scale",
        "scale is exp(t), already the inverse of the temperature: multiply by it.",
    ),
    Mistake(
        "exp(scale)",
        lambda image, text, scale: losses.itc(image, text, torch.as_tensor(scale).exp()),
        "the exponential is taken of the scale",
        "scale is exp(t) already: multiply by it as it is.",
    ),
    Mistake(
        "the scale forgotten",
        lambda image, text, scale: losses.itc(image, text, 1.0),
        "the cosines are not multiplied by the scale",
        "logits = scale * image @ text.T",
    ),
    Mistake(
        "labels of zeros",
        answers.labels_of_zeros,
        "every row is told that column 0 is right",
        "Row i belongs to column i: torch.arange(n).",
    ),
    Mistake(
        "no softmax",
        answers.no_softmax,
        "this is only the similarity of the pairs: nothing pushes the others away",
        "Cross-entropy: minus the logarithm of the softmax at the right column.",
    ),
    Mistake(
        "softmax before cross_entropy",
        answers.softmax_twice,
        "the softmax is taken twice",
        "F.cross_entropy wants the logits: it takes the softmax itself.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    image, text = torch.randn(6, 16), torch.randn(6, 16)
    loss = call(candidate, image, text, 10.0)
    if isinstance(loss, float):
        fail("the loss is a plain number, through which no gradient flows", checking.CUT)
    expect_shape(loss, (), "the loss", "cross_entropy already takes the mean over the rows.")

    def run(function: Callable[..., Any]) -> Any:
        return function(image, text, 10.0)

    expect_right(run, candidate, itc_loss, _MISTAKES, "the loss")
    expect_close(
        candidate(image[:3], text[:3], 1.0),
        itc_loss(image[:3], text[:3], 1.0),
        "the loss of a smaller batch",
        "Take the number of pairs from the batch, len(image), not from an example.",
    )
    scale = torch.tensor([10.0])  # exp(t) as the model has it: one learned number
    expect_shape(candidate(image, text, scale), (), "the loss, for a scale that is a tensor")
    checking.differentiable(candidate, itc_loss, image, text, scale, what="the loss")
    checking.batch_of_one(candidate, itc_loss, image, text, 10.0, what="the loss")
    # Cosines of 1 and -1, a scale of 100: naive exponentials are infinite, or 0 under the log.
    axis = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    for other in (axis, -axis):
        checking.stable(
            candidate,
            itc_loss,
            axis,
            other,
            torch.tensor([1.0]),
            what="the loss",
            hint="exp(100) is more than a float32 can hold, exp(-200) less: use F.cross_entropy or"
            " log_softmax, which subtract the largest logit first.",
        )


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="clip.itc_loss",
        title="The contrastive loss, from the paper's pseudo-code",
        minutes=12,
        difficulty=2,
        reference=itc_loss,
        check=_check,
        hints=(
            "Four steps: normalise both sides, all cosines times scale, cross-entropy, mean.",
            "Row i's right answer is column i, so the labels are torch.arange(n).",
            "Images: F.cross_entropy(logits, labels); texts: F.cross_entropy(logits.T, labels).",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("a Python number", answers.as_a_number, ".item()"),
            Wrong("under no_grad", answers.under_no_grad, "no gradient flows back"),
            Wrong("a new tensor", answers.as_a_new_tensor, "torch.tensor()"),
            Wrong("the texts detached", answers.texts_detached, "no gradient reaches `text`"),
            Wrong("the scale as a number", answers.scale_as_float, "no gradient reaches `scale`"),
            Wrong("exp and sum by hand", answers.naive_exp, "subtract the largest logit"),
            Wrong("log of a softmax", answers.log_of_softmax, "subtract the largest logit"),
            Wrong("six pairs written down", answers.six_labels, "number of pairs from the batch"),
            Wrong("one loss a pair", answers.one_a_pair, "mean over the rows"),
            Wrong("normalised in place", answers.in_place, "in place"),
        ),
        right=(
            Right("log_softmax by hand", answers.log_softmax_by_hand),
            Right("logsumexp minus the diagonal", answers.logsumexp),
            Right("einsum and lengths", answers.einsum_and_lengths),
            Right("a loop over the pairs", answers.by_a_loop),
        ),
    ),
)
