"""The capstone of the CLIP lecture: both towers and the loss, put together by the student."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlcourse.models.clip import CLIP, CLIPConfig, TextConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.teach import yours
from vlcourse.teach.checking import Exercise, Right, Wrong, call
from vlcourse.teach.clip.exercises import capstone_answers as answers
from vlcourse.teach.clip.exercises import itc, patches, pooling
from vlcourse.teach.gradients import expect_gradients
from vlcourse.teach.mistakes import expect_right


def clip_loss(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    """The reference: figure 3 of the paper, by the student's functions as far as they passed.

    Args:
        model: a :class:`~vlcourse.models.clip.CLIP` whose image tower is a ViT.
        pixels: (B, 3, S, S) normalised images.
        tokens: (B, L) their texts.

    Returns:
        The contrastive loss, a scalar.
    """
    patch_embedding = yours.pick("clip.patch_embedding", patches.patch_embedding)
    eot_pooling = yours.pick("clip.eot_pooling", pooling.eot_pooling)
    itc_loss = yours.pick("clip.itc_loss", itc.itc_loss)
    image, text = model.image, model.text
    x = patch_embedding(pixels, image.patch.weight)  # (B, patches, D)
    x = torch.cat([image.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, 1 + patches, D)
    x = image.norm_pre(x + image.positions)
    for block in image.blocks:
        x = block(x)
    image_feature = model.image_projection(image.norm_post(x[:, 0]))  # (B, embed)
    y = text.token(tokens) + text.positions[: tokens.shape[1]]  # (B, L, D)
    for block in text.blocks:
        y = block(y, causal=True)
    text_feature = model.text_projection(eot_pooling(text.norm_final(y), tokens))  # (B, embed)
    return itc_loss(image_feature, text_feature, model.scale())


# The first with one width for all, so that a forgotten projection is told in words.
_SHAPES = (
    CLIPConfig(16, ViTConfig(8, 4, 16, 2, 2), TextConfig(20, 9, 16, 2, 2)),
    CLIPConfig(10, ViTConfig(12, 4, 24, 1, 3), TextConfig(30, 12, 8, 2, 4)),
)


def _random_model(config: CLIPConfig) -> CLIP:
    """A model none of whose parameters is 0 or 1 by chance of its initialisation."""
    made = CLIP(config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name != "log_scale":
                around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                parameter.normal_(around, 0.4)
    return made


def _check(candidate: Any) -> None:
    for config, texts in zip(_SHAPES, (5, 3), strict=True):
        model = _random_model(config)
        end = config.text.vocab_size - 1
        tokens = torch.randint(1, end, (texts, config.text.context - 2))
        for row, length in enumerate(range(3, 3 + texts)):
            tokens[row, length - 1 :] = 0
            tokens[row, length - 1] = end
        pixels = torch.randn(texts, 3, config.image.image_size, config.image.image_size)
        arguments = model, pixels, tokens

        hint = "Compare each line with figure 3 and with the list of names above."
        run = partial(_run, arguments)
        expect_right(run, candidate, _library, answers.MISTAKES, "the loss", hint)
        _check_gradients(candidate, arguments)


def _run(arguments: tuple[Any, ...], function: Callable[..., Tensor]) -> Tensor:
    return call(function, *arguments)


def _check_gradients(candidate: Any, arguments: tuple[Any, ...]) -> None:
    """Each parameter learns, and what it learns is right."""
    named = dict(arguments[0].named_parameters())
    expect_gradients(candidate(*arguments), _library(*arguments), named, "loss", atol=1e-4)


def _library(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    return model.losses({"pixels": pixels, "tokens": tokens})["itc"]


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="clip.model",
        title="Your own CLIP",
        minutes=15,
        difficulty=2,
        reference=clip_loss,
        check=_check,
        hints=(
            "Image: patches, class token in front, positions, norm_pre, blocks, x[:, 0], "
            "norm_post, projection. Text: tokens, positions, causal blocks, norm_final, "
            "eot_pooling, projection.",
            "model.image.class_token is (D,): .expand(len(x), 1, -1) makes one for each image.",
            "return itc_loss(image_feature, text_feature, model.scale())",
        ),
        wrong=(
            *(mistake.wrong() for mistake in answers.MISTAKES),
            Wrong("scale as a number", answers.scale_as_a_number, "model.log_scale"),
            Wrong("text detached", answers.detached_text, ".detach()"),
            Wrong("under no_grad", answers.without_gradient, "no_grad()"),
        ),
        right=(
            Right("normalised before the loss, too", answers.normalised_before),
            Right("texts first", answers.texts_first),
            Right("pooled before the norm", answers.pooled_before_the_norm),
        ),
    ),
)


def _losses(function: Callable[..., Tensor], model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return {"itc": function(model, batch["pixels"], batch["tokens"])}


def _library_losses(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return model.losses(batch)


CAPSTONE = yours.Capstone(
    recipe="clip-capstone",
    exercise="clip.model",
    uses=("clip.patch_embedding", "clip.eot_pooling", "clip.itc_loss"),
    losses=_losses,
    library=_library_losses,
)
