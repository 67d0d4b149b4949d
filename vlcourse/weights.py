"""Weights from and to the layouts they are published in: OpenAI's (and open_clip's), transformers'.

Nothing is unpickled: safetensors files, or ``torch.load(weights_only=True)``. Loading is strict:
every one of their names is used, every one of ours is filled, or :class:`WeightsError` lists both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import weight_files as files
from vlcourse.models import clip_layouts as layouts
from vlcourse.models.clip import CLIP, CLIPConfig
from vlcourse.rename import Rule as Rule
from vlcourse.rename import WeightsError as WeightsError
from vlcourse.rename import fill, to_theirs


def from_hf(source: nn.Module | str | Path) -> CLIP:
    """A CLIP with the weights of a transformers ``CLIPModel``; our config is made from theirs.

    Args:
        source: a ``CLIPModel``; a folder with config.json and model.safetensors (or its shards and
            model.safetensors.index.json); or a hub id "owner/name", the only form that uses the
            network. No code from the hub is run.

    Returns:
        The model on the CPU, float32, in eval mode.

    Raises:
        WeightsError: one sentence: no such source, no network, no safetensors, another kind of
            model or one that our CLIP cannot be; or the missing, unused and misshapen names.
    """
    if isinstance(source, nn.Module):
        config, theirs = getattr(source, "config", None), source.state_dict()
        settings, name = config.to_dict() if config else {}, type(source).__name__
    else:
        folder, name = files.model_folder(source), str(source)
        settings, theirs = files.read_config(folder), files.read_sharded(folder)
    ours = layouts.config_from_hf(settings, name)
    return _filled(ours, theirs, layouts.hf_table(), layouts.HF_BUFFERS, f"the weights of {name}")


def from_openai(
    source: Mapping[str, Any] | str | Path,
    *,
    activation: str = "quick_gelu",
    image_heads: int | None = None,
    text_heads: int | None = None,
) -> CLIP:
    """A CLIP with weights in OpenAI's layout, which open_clip shares; config from the shapes.

    Args:
        source: a state dict, or a .safetensors or .pt file with one. open_clip's names with
            ``text.`` before the text tower's (``CustomTextCLIP``) are understood too.
        activation: "quick_gelu" for OpenAI's weights and open_clip's that say so; "gelu" for
            open_clip's others. The weights do not tell.
        image_heads, text_heads: heads of the towers, when they are not width / 64 (in a ResNet, of
            the attention pooling, whose width is 32 times the stem's).

    Returns:
        The model on the CPU, float32 (OpenAI's files are partly float16), in eval mode.

    Raises:
        WeightsError: for a file that cannot be read, or weights that are not a CLIP's, or not
            exactly; the missing, unused and misshapen names are listed.
    """
    if isinstance(source, (str, Path)):
        theirs, name = files.read_state_dict(source), str(source)
    else:
        theirs, name = dict(source), "the state dict"
    prefix = "text." if any(key.startswith("text.") for key in theirs) else ""
    try:
        config = layouts.config_from_openai(theirs, prefix, activation, image_heads, text_heads)
    except KeyError as error:
        raise WeightsError(
            f"{name} is no CLIP in OpenAI's layout: it has no {error.args[0]}"
        ) from None
    table = layouts.openai_table(config, prefix)
    return _filled(config, theirs, table, layouts.OPENAI_SCALARS, f"the weights of {name}")


def to_openai(model: CLIP) -> dict[str, Tensor]:
    """The model's weights in OpenAI's layout, as openai/CLIP and open_clip's ``CLIP`` load them.

    Tensors that need no change share their memory with the model.
    """
    return to_theirs(model.state_dict(), layouts.openai_table(model.config))


def to_transformers(model: CLIP) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The model's weights and config as transformers' ``CLIPModel`` and ``CLIPConfig`` take them.

    Tensors that need no change share their memory with the model.

    Raises:
        WeightsError: for a ResNet, which transformers' CLIP does not have.
    """
    config = layouts.config_to_hf(model.config)
    return to_theirs(model.state_dict(), layouts.hf_table()), config


def _filled(
    config: CLIPConfig,
    theirs: Mapping[str, Tensor],
    table: list[Rule],
    drop: tuple[str, ...],
    source: str,
) -> CLIP:
    try:
        with torch.device("meta"):
            model = CLIP(config)
    except ValueError as error:
        raise WeightsError(f"{source} have a shape that cannot be built: {error}") from None
    fill(model, theirs, table, drop, source)
    return model.eval()
