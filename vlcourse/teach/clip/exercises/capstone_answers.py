"""Answers to "clip.model" as students write them, right ones and wrong ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.teach.clip.exercises import itc, pooling
from vlcourse.teach.mistakes import Mistake


def _image(model: Any, pixels: Tensor, slip: str) -> Tensor:
    """The image's embedding, with one mistake or none."""
    tower = model.image
    x = F.conv2d(pixels, tower.patch.weight, stride=tower.patch.stride).flatten(2).mT
    first, positions = tower.class_token.expand(len(x), 1, -1), tower.positions
    if slip == "positions on patches only":
        x = x + positions[1:]
    x = torch.cat([x, first] if slip == "class token last" else [first, x], dim=1)
    if slip not in ("image positions", "positions on patches only", "positions after norm_pre"):
        x = x + positions
    x = x if slip == "norm_pre" else tower.norm_pre(x)
    if slip == "positions after norm_pre":
        x = x + positions
    for block in () if slip == "image blocks" else tower.blocks:
        x = block(x, causal=slip == "causal image")
    if slip == "mean":
        x = x.mean(dim=1, keepdim=True)
    if slip == "first patch":
        x = x[:, 1:]
    feature = x[:, 0] if slip == "norm_post" else tower.norm_post(x[:, 0])
    return feature if slip == "image projection" else model.image_projection(feature)


def _text(model: Any, tokens: Tensor, slip: str) -> Tensor:
    """The text's embedding, with one mistake or none."""
    tower = model.text
    y = tower.token(tokens)
    if slip != "text positions":
        y = y + tower.positions[: tokens.shape[1]]
    for block in () if slip == "text blocks" else tower.blocks:
        y = block(y, causal=slip != "not causal")
    y = y if slip == "norm_final" else tower.norm_final(y)
    end = tokens.argmax(dim=-1)
    if slip == "last column":
        end = torch.full_like(end, tokens.shape[1] - 1)
    feature = y.mean(dim=1) if slip == "mean of the text" else y[torch.arange(len(y)), end]
    return feature if slip == "text projection" else model.text_projection(feature)


def _with(slip: str, model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    """The whole, with one mistake or none."""
    scales = {"no scale": 1.0, "t for its exp": model.log_scale, "1 / scale": 1 / model.scale()}
    image, text = _image(model, pixels, slip), _text(model, tokens, slip)
    return itc.itc_loss(image, text, scales.get(slip, model.scale()))


def _mistake(name: str, slip: str, what: str, hint: str) -> Mistake:
    return Mistake(name, partial(_with, slip), what, hint)


def scale_as_a_number(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    image, text = _image(model, pixels, ""), _text(model, tokens, "")
    return itc.itc_loss(image, text, model.scale().item())


def detached_text(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    image, text = _image(model, pixels, ""), _text(model, tokens, "")
    return itc.itc_loss(image, text.detach(), model.scale())


@torch.no_grad()
def without_gradient(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    return _with("", model, pixels, tokens)


def normalised_before(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    image, text = _image(model, pixels, ""), _text(model, tokens, "")
    unit = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    return itc.itc_loss(*unit, model.scale())


def texts_first(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    return itc.itc_loss(_text(model, tokens, ""), _image(model, pixels, ""), model.scale())


def pooled_before_the_norm(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    y = model.text.token(tokens) + model.text.positions[: tokens.shape[1]]
    for block in model.text.blocks:
        y = block(y, causal=True)
    end = pooling.eot_pooling(y, tokens)  # LayerNorm takes each position by itself
    text = model.text.norm_final(end) @ model.text_projection.weight.T
    return itc.itc_loss(_image(model, pixels, ""), text, model.log_scale.exp().clamp(max=100))


_ORDER = "The order: patches, class token in front, + model.image.positions, norm_pre, blocks."
MISTAKES = (
    _mistake(
        "image positions forgotten", "image positions", "the patches have no positions", _ORDER
    ),
    _mistake(
        "class token without position",
        "positions on patches only",
        "the class token has no position",
        "There are 1 + patches positions: put the class token in front first, then add all.",
    ),
    _mistake(
        "class token at the end",
        "class token last",
        "the class token stands at the end, and you take another state for its own",
        "torch.cat([class token, patches], dim=1): its place is 0, and so is its position.",
    ),
    _mistake("norm_pre forgotten", "norm_pre", "model.image.norm_pre is not used", _ORDER),
    _mistake(
        "positions after norm_pre",
        "positions after norm_pre",
        "norm_pre comes before the positions",
        _ORDER,
    ),
    _mistake(
        "blocks of the image forgotten",
        "image blocks",
        "the blocks of the image tower are not used",
        "for block in model.image.blocks: x = block(x)",
    ),
    _mistake(
        "causal mask in the image tower",
        "causal image",
        "the image tower has a causal mask, so the class token sees no patch",
        "Patches may look at each other freely: block(x) without causal=True.",
    ),
    _mistake(
        "mean over the patches",
        "mean",
        "the image's feature is the mean of all states",
        "A ViT's feature is the state of the class token, x[:, 0].",
    ),
    _mistake(
        "a patch for the class token",
        "first patch",
        "the image's feature is the state of a patch",
        "A ViT's feature is the state of the class token, x[:, 0].",
    ),
    _mistake(
        "norm_post forgotten",
        "norm_post",
        "model.image.norm_post is not used",
        "The class token's state goes through norm_post, then through the projection.",
    ),
    _mistake(
        "image projection forgotten",
        "image projection",
        "model.image_projection is not used",
        "Both features are projected into the joint space before they meet.",
    ),
    _mistake(
        "text positions forgotten",
        "text positions",
        "the words have no positions",
        "Add model.text.positions, cut to the length of the texts.",
    ),
    _mistake(
        "blocks of the text forgotten",
        "text blocks",
        "the blocks of the text tower are not used",
        "for block in model.text.blocks: y = block(y, causal=True)",
    ),
    _mistake(
        "no causal mask",
        "not causal",
        "the text tower has no causal mask, so padding is read",
        "block(y, causal=True): each word sees only those before it.",
    ),
    _mistake(
        "norm_final forgotten",
        "norm_final",
        "model.text.norm_final is not used",
        "The text's states go through norm_final, then eot_pooling picks one.",
    ),
    _mistake(
        "last column of the text",
        "last column",
        "the text's feature is the last column, which is padding in short texts",
        "eot_pooling(states, tokens) finds the end of each text.",
    ),
    _mistake(
        "mean over the text",
        "mean of the text",
        "the text's feature is the mean of its states",
        "eot_pooling(states, tokens) takes one state, at the end of the text.",
    ),
    _mistake(
        "text projection forgotten",
        "text projection",
        "model.text_projection is not used",
        "Both features are projected into the joint space before they meet.",
    ),
    _mistake(
        "scale forgotten", "no scale", "the scale is 1", "The third argument is model.scale()."
    ),
    _mistake(
        "t instead of its exp",
        "t for its exp",
        "the scale is t, not exp(t)",
        "model.scale() is exp(t), at most 100.",
    ),
    _mistake(
        "temperature for scale",
        "1 / scale",
        "the similarities are divided by the scale",
        "model.scale() is already the inverse of the temperature.",
    ),
)
