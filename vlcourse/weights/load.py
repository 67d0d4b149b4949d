"""Weights from and to the layouts they are published in: transformers', OpenAI's, LLaMA's own.

Nothing is unpickled: safetensors files, or ``torch.load(weights_only=True)``. Loading is strict:
every one of their names is used, every one of ours is filled, or :class:`WeightsError` lists both.
Files are read tensor by tensor, so that a model is in memory once while it is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from vlcourse.models.blip import BLIP
from vlcourse.models.blip2 import BLIP2
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.models.blip_vqa import BLIPAnswerer
from vlcourse.models.clip import CLIP, CLIPConfig
from vlcourse.models.llama import LLaMA
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import Seq2Seq
from vlcourse.weights import blip, blip2, clip, files, llama, open_clip
from vlcourse.weights.build import check_depth, filled
from vlcourse.weights.families import FAMILIES
from vlcourse.weights.mappings import Merged, unwrapped
from vlcourse.weights.rename import Rule as Rule
from vlcourse.weights.rename import WeightsError as WeightsError
from vlcourse.weights.rename import WeightsWarning as WeightsWarning
from vlcourse.weights.rename import once, to_theirs
from vlcourse.weights.settings import Settings
from vlcourse.weights.state import weights_of

Model: TypeAlias = BLIP | BLIPAnswerer | BLIP2 | BLIP2LLM | CLIP | LLaMA | Seq2Seq


def from_hf(source: nn.Module | str | Path, *, dtype: torch.dtype = torch.float32) -> Model:
    """Our model with the weights of a transformers model; our config is made from theirs.

    Which model follows from the type that theirs says it has: clip → CLIP, llama → LLaMA, t5 →
    Seq2Seq, blip → a BLIP that only reads (``BlipForImageTextRetrieval``) or only writes
    (``BlipForConditionalGeneration``), or a BLIPAnswerer (``BlipForQuestionAnswering``), blip-2 → a
    BLIP2 (``Blip2ForImageTextRetrieval``) or a BLIP2LLM (``Blip2ForConditionalGeneration``). A head
    that is the embeddings' matrix is shared here, too. What the layout has no place for is warned
    of: BLIP's and BLIP-2's temperature.

    Args:
        source: a transformers model (``CLIPModel``, ``LlamaForCausalLM``,
            ``T5ForConditionalGeneration``); a folder with config.json and model.safetensors (or its
            shards and model.safetensors.index.json); or a hub id "owner/name", the only form that
            uses the network. No code from the hub is run.
        dtype: type of the floating tensors, such as torch.bfloat16 for half of the memory.

    Returns:
        The model on the CPU, in eval mode.

    Raises:
        WeightsError: one sentence: no such source, no network, no safetensors, a type of model
            that we do not have or settings that ours does not; or the missing, unused and
            misshapen names.
    """
    theirs: Mapping[str, Tensor]
    if isinstance(source, nn.Module):
        config, theirs = getattr(source, "config", None), source.state_dict()
        settings, name = config.to_dict() if config else {}, type(source).__name__
        settings |= {"architectures": [name]}
    else:
        folder, name = files.model_folder(source), str(source)
        settings, theirs = files.read_config(folder), files.read_sharded(folder)
    kind = settings.get("model_type", "unknown")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise WeightsError(f"{name} is of the type {kind!r}; from_hf reads these types: {known}")
    family = FAMILIES[kind]
    ours = family.config_from_hf(settings, name)
    for copies in family.copies(ours):
        theirs = once(theirs, copies, name)
    lacks = family.lacks(ours)
    if "temp" in lacks:
        warnings.warn(
            f"{name} has no place for the temperature: it is {float(lacks['temp']):.2f}, as at the "
            "beginning of a training",
            WeightsWarning,
            stacklevel=2,
        )
    check_depth(family.blocks(ours), theirs, name)
    theirs = {**lacks, **theirs} if lacks else theirs
    return filled(ours, theirs, family.table(ours), family.buffers(ours), name, dtype)


def from_openai(
    source: Mapping[str, Any] | str | Path,
    *,
    config: CLIPConfig | None = None,
    activation: str | None = None,
    image_heads: int | None = None,
    text_heads: int | None = None,
) -> CLIP:
    """A CLIP with weights in OpenAI's layout, which open_clip shares.

    The weights tell every size, but neither the heads nor the activation. Those come from
    ``config`` or the other arguments, else from an open_clip_config.json in the same folder, else
    from the paper's tables if the sizes are those of a model in them.

    Args:
        source: a state dict, or a .safetensors or .pt file with one, whole or in a training
            checkpoint; a folder with such a file; or a hub id "owner/name", whose safetensors are
            downloaded. open_clip's names with ``text.`` before the text tower's
            (``CustomTextCLIP``) are understood too.
        config: the whole shape.
        activation: "quick_gelu" for OpenAI's weights and open_clip's that say so; "gelu" for
            open_clip's others.
        image_heads, text_heads: heads of the towers (in a ResNet, of the attention pooling).

    Returns:
        The model on the CPU, float32 (OpenAI's files are partly float16), in eval mode.

    Raises:
        WeightsError: for a file that cannot be read, weights that are not a CLIP's, or not
            exactly (the missing, unused and misshapen names are listed); or that do not tell what
            must then be given: the arguments are named.
    """
    said = Path()  # where the settings may be
    if isinstance(source, Mapping):
        name, theirs = "the state dict", unwrapped(source, "the state dict")
    else:
        file, name = files.local(source), str(source)
        if not file.is_file() and file.suffix not in files.SUFFIXES:
            wanted = (files.OPENAI_CONFIG, *files.OPENAI_FILES[:2])
            file = files.openai_file(files.model_folder(source, wanted))
        theirs, said = files.read_state_dict(file), file.with_name(files.OPENAI_CONFIG)
    prefix = "text." if any(key.startswith("text.") for key in theirs) else ""
    unsaid: list[str] = []
    if config is None and said.is_file():
        config = open_clip.config_from_open_clip(files.read_json(said), str(said))
    elif config is None:
        try:
            config, unsaid = open_clip.config_from_shapes(
                theirs, prefix, activation, image_heads, text_heads
            )
        except KeyError as error:
            raise WeightsError(
                f"{name} is no CLIP in OpenAI's layout: it has no {error.args[0]}"
            ) from None
        if not unsaid and not activation and clip.OPENAI_SCALARS[0] not in theirs:
            warnings.warn(
                f"{name} has the sizes of a model of OpenAI's and is taken for it, with QuickGELU: "
                'pass activation="gelu" if it is one of open_clip\'s',
                WeightsWarning,
                stacklevel=2,
            )
    heads = (image_heads or config.image.heads, text_heads or config.text.heads)
    config = open_clip.with_heads(config, *heads, activation or config.text.activation)
    check_depth(clip.blocks(config), theirs, name)
    table = clip.openai_table(config, prefix)
    model = filled(config, theirs, table, clip.OPENAI_SCALARS, name, torch.float32)
    if unsaid:  # said last: whoever lacks a tensor, too, hears of that first
        raise WeightsError(
            f"{name} has not the sizes of OpenAI's models, and weights do not tell "
            f"{', '.join(unsaid)}: pass them, or put {files.OPENAI_CONFIG} beside the file"
        )
    return model


def to_openai(model: CLIP) -> dict[str, Tensor]:
    """The model's weights in OpenAI's layout, as openai/CLIP and open_clip's ``CLIP`` load them.

    Tensors that need no change share their memory with the model.

    Raises:
        WeightsError: for a ResNet with strides of its own, which the layout cannot tell.
    """
    image = model.config.image
    if isinstance(image, ResNetConfig) and image.strides != ResNetConfig.strides:
        raise WeightsError(
            f"a ResNet with the strides {image.strides} has no place in OpenAI's layout: whoever "
            "loads it would take those of the paper, (1, 2, 2, 2)"
        )
    return to_theirs(model.state_dict(), clip.openai_table(model.config))


def from_official(
    source: Mapping[str, Tensor] | str | Path,
    params: Mapping[str, Any] | None = None,
    *,
    context: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> LLaMA:
    """A LLaMA with weights in the layout of the official code, whole or in model-parallel shards.

    Args:
        source: a folder with consolidated.safetensors, or consolidated.00.pth and its other shards,
            and params.json; or a state dict.
        params: the content of params.json, which a state dict needs beside it.
        context: longest text the model was trained on, in tokens, which the files do not tell; by
            default 2,048, or 131,072 when params say use_scaled_rope (LLaMA 3.1 and 3.2).
        dtype: type of the floating tensors, such as torch.bfloat16 for half of the memory.

    Returns:
        The model on the CPU, in eval mode.

    Raises:
        WeightsError: for files that cannot be read, shards that are missing, settings that our
            LLaMA does not have; or the missing, unused and misshapen names.
    """
    theirs: Mapping[str, Any]
    if isinstance(source, Mapping):
        if params is None:
            raise WeightsError("weights do not tell the heads: pass params, as in params.json")
        name, theirs = "the state dict", unwrapped(source, "the state dict")
    else:
        folder, name = files.local(source), str(source)
        params = files.read_json(folder / "params.json") if params is None else params
        whole = folder / "consolidated.safetensors"
        shards = [whole] if whole.is_file() else sorted(folder.glob("consolidated.*.pth"))
        if not shards:
            raise WeightsError(f"{folder} has no {whole.name} and no consolidated.00.pth")
        square = "head_dim" not in Settings(params, "params.json")
        theirs = Merged([files.read_state_dict(shard) for shard in shards], name, square)
    try:
        config = llama.config_from_official(params, theirs, context)
    except KeyError as error:
        raise WeightsError(f"{name} is no LLaMA in its own layout: no {error.args[0]}") from None
    check_depth(config.layers, theirs, name)
    drop = llama.official_buffers(config)
    return filled(config, theirs, llama.official_table(), drop, name, dtype)


def to_official(model: LLaMA) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The model's weights and params.json as LLaMA's official code takes them, as one shard.

    Tensors share their memory with the model.
    """
    weights = to_theirs(model.state_dict(), llama.official_table())
    return weights, llama.config_to_official(model.config)


def to_transformers(
    model: Model, architecture: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The model's weights and the content of its config.json as transformers takes them.

    Tensors that need no change share their memory with the model.

    Args:
        model: the model.
        architecture: for a BLIP that reads and writes, which transformers has as two models: the
            one that is wanted, ``"BlipForConditionalGeneration"`` say.

    Raises:
        WeightsError: for a model that transformers does not have, such as CLIP with a ResNet.
    """
    found = [family for family in FAMILIES.values() if isinstance(model.config, family.config)]
    if not found:
        raise WeightsError(f"transformers has no {type(model).__name__}")
    (family,) = found
    ours, weights = model.config, weights_of(model)
    if isinstance(model, BLIP):
        ours, weights = blip.one_role(model, architecture)
    if isinstance(model, BLIP2):
        ours, weights = blip2.reader_of(model)
    config = family.config_to_hf(ours)
    theirs, lacks = to_theirs(weights, family.table(ours)), family.lacks(ours)
    return {name: tensor for name, tensor in theirs.items() if name not in lacks}, config


def save_hf(
    model: Model,
    folder: str | Path,
    shard_bytes: int = 5_000_000_000,
    architecture: str | None = None,
) -> None:
    """Write a folder that transformers' ``from_pretrained`` and :func:`from_hf` read.

    It holds config.json and model.safetensors, or shards and their index, and it appears complete
    or not at all.

    Args:
        model: the model; its tensors are stored in the type they have.
        folder: a new or an empty one.
        shard_bytes: most bytes of a file (a larger tensor has a file of its own).
        architecture: as in :func:`to_transformers`.

    Raises:
        WeightsError: when the folder holds something already, or as in :func:`to_transformers`.
    """
    weights, config = to_transformers(model, architecture)
    kind = str(next(model.parameters()).dtype).removeprefix("torch.")
    config |= {"dtype": kind, "torch_dtype": kind}  # the name since transformers 5, and before
    files.write_sharded(Path(folder).expanduser(), weights, config, shard_bytes)
