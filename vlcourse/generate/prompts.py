"""What is checked before anything is written: the prompt, and whether everything fits together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vlcourse.generate.options import GenerateError, Options
from vlcourse.layers.cache import Started
from vlcourse.tokenizers.sizes import misfit


def check_prompt(tokens: Any, mask: Any, conditions: dict[str, Any], vocabulary: int) -> None:
    """Refuse a prompt that no model can read.

    Args:
        tokens: (B, P) ids, or None.
        mask: (B, P) bool, False for padding, or None.
        conditions: what else the model is given. ``x`` are (B, P, D) vectors in the place of
            ``tokens``; with neither, the prompt is one of the others (a picture, say).
        vocabulary: how many ids the model has that mean something.

    Raises:
        GenerateError: for tokens and vectors at once, another shape or type, an empty prompt, or an
            id that the model does not have.
    """
    x = conditions.get("x")
    nothing = tokens is None and all(value is None for value in conditions.values())
    if nothing or (tokens is not None and x is not None):
        raise GenerateError("the prompt is either tokens or vectors x: give one of the two")
    prompt, dimensions = (tokens, 2) if x is None else (x, 3)
    if prompt is None:
        return
    is_tensor = isinstance(prompt, Tensor)
    right = is_tensor and prompt.ndim == dimensions and prompt.is_floating_point() == (x is prompt)
    if not right or prompt.dtype == torch.bool:
        said = "ids of shape (B, P)" if x is None else "vectors x of shape (B, P, D)"
        raise GenerateError(f"the prompts must be {said}, not {_kind(prompt)}")
    if len(prompt) == 0:
        raise GenerateError("there are no prompts to go on from")
    if prompt.shape[1] == 0:
        raise GenerateError(EMPTY)
    if mask is not None:
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            raise GenerateError(f"the mask must be bool, False for padding, not {_kind(mask)}")
        if mask.shape != prompt.shape[:2]:
            name = "tokens" if x is None else "vectors x"
            shapes = f"{tuple(mask.shape)} does not fit {name} {tuple(prompt.shape)}"
            raise GenerateError(f"the mask {shapes}")
    if x is None and (wrong := tokens[(tokens < 0) | (tokens >= vocabulary)]).numel():
        raise GenerateError(
            f"the prompt has the id {int(wrong[0])}, but the model's ids are 0 to "
            f"{vocabulary - 1}: is it of another tokenizer?"
        )


EMPTY = "a prompt is empty: begin it with the id of the text's start, at least"


def check_started(started: Started) -> None:
    """Refuse padding on the right of what the decoder itself has read.

    An encoder's prompt may be padded anywhere: its decoder's cache has no padding.

    Raises:
        GenerateError: for an empty prompt among others, or padding on the right.
    """
    seen = started.cache.mask
    if seen is None or bool(seen[:, -1].all()):
        return
    if not seen.any(1).all():
        raise GenerateError(EMPTY)
    raise GenerateError(
        "a decoder's padding belongs on the left: see vlcourse.generate.loop.left_pad"
    )


def check_ids(options: Options, vocabulary: int, tokenizer_ids: int | None) -> None:
    """Refuse ends and padding that are no ids of the model, and a tokenizer of another model.

    Args:
        options: how to write.
        vocabulary: how many ids the model has.
        tokenizer_ids: how many its tokenizer has; None when it is not known.

    Raises:
        GenerateError: with the numbers.
    """
    known = vocabulary if tokenizer_ids is None else tokenizer_ids
    if fault := misfit(vocabulary, known):
        raise GenerateError(f"the tokenizer does not belong to the model: {fault}")
    for name, ids in (("end", options.ends), ("pad", (options.padding,))):
        if too_large := [i for i in ids if i >= known]:
            raise GenerateError(
                f"{name}={too_large[0]} is no id of the model, which has 0 to {known - 1}"
            )


def _kind(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
