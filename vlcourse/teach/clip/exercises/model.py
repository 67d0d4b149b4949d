"""Exercises of the CLIP lecture: loss, patches, the end-of-text feature, a classifier in words."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.teach.checking import Exercise, Wrong, call, expect_close, expect_shape, fail


def itc_loss(image: Tensor, text: Tensor, scale: float) -> Tensor:
    """The reference: the library's own loss."""
    return losses.itc(image, text, scale)


def _check_itc_loss(candidate: Any) -> None:
    image, text = torch.randn(6, 16), torch.randn(6, 16)
    loss = call(candidate, image, text, 10.0)
    expect_shape(loss, (), "the loss", "cross_entropy already takes the mean over the rows.")
    right = losses.itc(image, text, 10.0)
    unit_image, unit_text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    logits, labels = 10.0 * unit_image @ unit_text.T, torch.arange(6)
    rows, columns = F.cross_entropy(logits, labels), F.cross_entropy(logits.T, labels)
    raw = 10.0 * image @ text.T
    mistakes = {
        "only images look for their text": rows,
        "only texts look for their image": columns,
    }
    for what, value in mistakes.items():
        if torch.isclose(loss, value):
            fail(what, "The loss is symmetric: average it with the same loss of the transpose.")
    if torch.isclose(loss, rows + columns):
        fail("the two directions are added", "Average them: divide the sum by two.")
    raw_loss = (F.cross_entropy(raw, labels) + F.cross_entropy(raw.T, labels)) / 2
    if torch.isclose(loss, raw_loss):
        fail(
            "the embeddings are not L2-normalised, so long vectors win",
            "Divide each row by its length first: F.normalize(x, dim=-1).",
        )
    cold = logits / 100
    if torch.isclose(loss, (F.cross_entropy(cold, labels) + F.cross_entropy(cold.T, labels)) / 2):
        fail(
            "the similarities are divided by the scale",
            "scale is exp(t), already the inverse of the temperature: multiply by it.",
        )
    expect_close(loss, right, "the loss")
    expect_close(call(candidate, image[:3], text[:3], 1.0), losses.itc(image[:3], text[:3], 1.0))


def _one_direction(image: Tensor, text: Tensor, scale: float) -> Tensor:
    return F.cross_entropy(
        scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T, torch.arange(len(image))
    )


def _not_normalised(image: Tensor, text: Tensor, scale: float) -> Tensor:
    logits, labels = scale * image @ text.T, torch.arange(len(image))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def _normalised_over_the_batch(image: Tensor, text: Tensor, scale: float) -> Tensor:
    logits = scale * F.normalize(image, dim=0) @ F.normalize(text, dim=0).T
    labels = torch.arange(len(image))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def patch_embedding(images: Tensor, weight: Tensor) -> Tensor:
    """The reference: unfold by a reshape, then one matrix product."""
    p = weight.shape[-1]
    patches = rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p)
    return patches @ weight.flatten(1).T


def _check_patch_embedding(candidate: Any) -> None:
    images, weight = torch.randn(2, 3, 8, 12), torch.randn(5, 3, 4, 4)
    tokens = call(candidate, images, weight)
    right = rearrange(F.conv2d(images, weight, stride=4), "b d h w -> b (h w) d")
    if isinstance(tokens, Tensor) and tokens.shape == (2, 5, 6):
        fail(
            "the tokens lie along the last axis: shape (2, 5, 6) for 6 tokens of width 5",
            "Swap the last two axes: a Transformer wants (batch, tokens, width).",
        )
    expect_shape(
        tokens, (2, 6, 5), "the token sequence", "An image of 8×12 has 2×3 patches of 4×4."
    )
    column_order = rearrange(F.conv2d(images, weight, stride=4), "b d h w -> b (w h) d")
    if torch.allclose(tokens, column_order, atol=1e-4):
        fail("the patches run down the columns", "Number them row by row, as one reads.")
    expect_close(
        tokens,
        right,
        "the token sequence",
        "Flatten a patch in the order of the weight: channel, then row, then column.",
        atol=1e-4,
    )


def _patches_not_transposed(images: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(images, weight, stride=weight.shape[-1]).flatten(2)


def _patches_by_column(images: Tensor, weight: Tensor) -> Tensor:
    grid = F.conv2d(images, weight, stride=weight.shape[-1])
    return rearrange(grid, "b d h w -> b (w h) d")


def _patches_channel_last(images: Tensor, weight: Tensor) -> Tensor:
    p = weight.shape[-1]
    patches = rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=p, q=p)
    return patches @ weight.flatten(1).T


def _patches_by_view(images: Tensor, weight: Tensor) -> Tensor:
    p = weight.shape[-1]
    return images.reshape(len(images), -1, 3 * p * p) @ weight.flatten(1).T


def eot_pooling(states: Tensor, tokens: Tensor) -> Tensor:
    """The reference: the state at each row's largest id."""
    return states[torch.arange(len(states)), tokens.argmax(dim=-1)]


def _check_eot_pooling(candidate: Any) -> None:
    states = torch.randn(3, 6, 4)
    tokens = torch.tensor([[98, 5, 99, 0, 0, 0], [98, 7, 8, 9, 99, 0], [98, 3, 2, 1, 4, 99]])
    pooled = call(candidate, states, tokens)
    expect_shape(pooled, (3, 4), "the feature matrix", "One state a text: (texts, width).")
    if torch.equal(pooled, states[:, -1]):
        fail(
            "you take the last column, which is padding in short texts",
            "Find each row's end of text: it has the largest id, so argmax over the ids.",
        )
    if torch.equal(pooled, states[:, 0]):
        fail(
            "you take the first token, as BERT does with [CLS]",
            "The mask is causal: the first token has read nothing. Only the last one has read all.",
        )
    if torch.allclose(pooled, states.mean(dim=1)):
        fail("you average all positions, padding included", "CLIP takes one position: argmax.")
    expect_close(
        pooled,
        eot_pooling(states, tokens),
        "the feature matrix",
        "Index rows and positions together: states[torch.arange(B), position].",
    )


def _last_column(states: Tensor, tokens: Tensor) -> Tensor:
    return states[:, -1]


def _first_column(states: Tensor, tokens: Tensor) -> Tensor:
    return states[:, 0]


def _mean_over_positions(states: Tensor, tokens: Tensor) -> Tensor:
    return states.mean(dim=1)


def _one_position_for_all(states: Tensor, tokens: Tensor) -> Tensor:
    return states[:, tokens.argmax(dim=-1)[0]]


def zero_shot_classifier(prompts: Tensor) -> Tensor:
    """The reference: normalise, average over the templates, normalise again."""
    return F.normalize(F.normalize(prompts, dim=-1).mean(dim=1), dim=-1)


def _check_zero_shot_classifier(candidate: Any) -> None:
    prompts = torch.randn(4, 3, 8) * torch.tensor([1.0, 5.0, 0.2]).view(1, 3, 1)
    weights = call(candidate, prompts)
    expect_shape(
        weights, (4, 8), "the weight matrix", "Average over the templates, which are axis 1."
    )
    if torch.allclose(weights, F.normalize(prompts.mean(dim=1), dim=-1), atol=1e-5):
        fail(
            "prompts with long embeddings outweigh the others",
            "Normalise each prompt's embedding before the mean.",
        )
    if torch.allclose(weights, F.normalize(prompts, dim=-1).mean(dim=1), atol=1e-5):
        fail(
            "the mean of unit vectors is shorter than 1, so classes are on unequal footing",
            "Normalise once more after the mean.",
        )
    if torch.allclose(weights, F.normalize(prompts[:, 0], dim=-1), atol=1e-5):
        fail("only the first template counts", "Average over all templates: .mean(dim=1).")
    expect_close(weights, zero_shot_classifier(prompts), "the weight matrix")


def _no_first_norm(prompts: Tensor) -> Tensor:
    return F.normalize(prompts.mean(dim=1), dim=-1)


def _no_last_norm(prompts: Tensor) -> Tensor:
    return F.normalize(prompts, dim=-1).mean(dim=1)


def _mean_over_classes(prompts: Tensor) -> Tensor:
    return F.normalize(F.normalize(prompts, dim=-1).mean(dim=0), dim=-1)


def _first_template(prompts: Tensor) -> Tensor:
    return F.normalize(prompts[:, 0], dim=-1)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="clip.itc_loss",
        title="The contrastive loss, from the paper's pseudo-code",
        minutes=10,
        difficulty=2,
        reference=itc_loss,
        check=_check_itc_loss,
        hints=(
            "Four steps: normalise both sides, all cosines times scale, cross-entropy, mean.",
            "Row i's right answer is column i, so the labels are torch.arange(n).",
            "Images: F.cross_entropy(logits, labels); texts: F.cross_entropy(logits.T, labels).",
        ),
        wrong=(
            Wrong("one direction only", _one_direction, "symmetric"),
            Wrong("embeddings not normalised", _not_normalised, "F.normalize"),
            Wrong("normalised over the batch axis", _normalised_over_the_batch, "normalise both"),
            Wrong("sum of directions", lambda i, t, s: 2 * losses.itc(i, t, s), "divide the sum"),
            Wrong(
                "divided by the scale",
                lambda i, t, s: losses.itc(i, t, 1 / s),
                "multiply by it",
            ),
        ),
    ),
    Exercise(
        id="clip.patch_embedding",
        title="An image as a sequence of patches",
        minutes=10,
        difficulty=2,
        reference=patch_embedding,
        check=_check_patch_embedding,
        hints=(
            "A convolution whose stride is its kernel size looks at each patch once.",
            "With einops: rearrange(images, 'b c (h p) (w q) -> b (h w) (c p q)', p=p, q=p).",
            "Multiply the flat patches with weight.flatten(1).T.",
        ),
        wrong=(
            Wrong("width before tokens", _patches_not_transposed, "Swap the last two axes"),
            Wrong("column by column", _patches_by_column, "row by row"),
            Wrong("channels last inside a patch", _patches_channel_last, "channel, then row"),
            Wrong("view instead of rearrange", _patches_by_view, "channel, then row"),
        ),
    ),
    Exercise(
        id="clip.eot_pooling",
        title="A text's feature is its last word's state",
        minutes=5,
        difficulty=1,
        reference=eot_pooling,
        check=_check_eot_pooling,
        hints=(
            "Under a causal mask only one position has read the whole text.",
            "The end of text has the largest id of the vocabulary.",
            "states[torch.arange(len(states)), tokens.argmax(dim=-1)]",
        ),
        wrong=(
            Wrong("the last column", _last_column, "largest id"),
            Wrong("the first token", _first_column, "causal"),
            Wrong("mean over positions", _mean_over_positions, "one position"),
            Wrong("one position for all", _one_position_for_all, "rows and positions together"),
        ),
    ),
    Exercise(
        id="clip.zero_shot_classifier",
        title="A classifier written in words",
        minutes=8,
        difficulty=1,
        reference=zero_shot_classifier,
        check=_check_zero_shot_classifier,
        hints=(
            "A class's weight is the direction its prompts agree on.",
            "Normalise, average over the templates (axis 1), normalise.",
        ),
        wrong=(
            Wrong("no norm before the mean", _no_first_norm, "before the mean"),
            Wrong("no norm after the mean", _no_last_norm, "after the mean"),
            Wrong("mean over the classes", _mean_over_classes, "axis 1"),
            Wrong("the first template only", _first_template, "all templates"),
        ),
    ),
)
