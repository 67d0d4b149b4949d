"""BLIP in transformers, as three models: what matches, what writes captions, what answers.

The names of the weights are in :mod:`vlcourse.weights.blip_names`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from vlcourse.layers.errors import ModelError
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.blip_vqa import BLIPAnswererConfig
from vlcourse.models.med_config import MEDConfig
from vlcourse.weights.blip_names import (
    HEAD,
    HEAD_BIAS,
    HF_TOWER,
    POSITION_IDS,
    TOKENS,
    image_table,
    text_table,
)
from vlcourse.weights.rename import Rule, WeightsError, WeightsWarning
from vlcourse.weights.settings import HEADS, LAYERS, Settings
from vlcourse.weights.state import weights_of

# transformers' models, and which roles of a MED each has.
ROLES: dict[str, Literal["both", "reader", "writer"]] = {
    "BlipForImageTextRetrieval": "reader",
    "BlipForConditionalGeneration": "writer",
    "BlipForQuestionAnswering": "both",
}


def hf_table(config: BLIPConfig | BLIPAnswererConfig) -> list[Rule]:
    """transformers' names."""
    return [*image_table("image", HF_TOWER), *text_table(config)]


def hf_copies(config: BLIPConfig | BLIPAnswererConfig) -> list[tuple[str, ...]]:
    """The head's matrix is the token vectors, and its bias is stored under two names."""
    return [(TOKENS, HEAD), HEAD_BIAS] if config.text.writes else []


def hf_buffers(config: BLIPConfig | BLIPAnswererConfig) -> tuple[str, ...]:
    """Copies, and what old files hold beside the weights."""
    return (*(name for group in hf_copies(config) for name in group[1:]), *POSITION_IDS)


def hf_lacks(config: BLIPConfig | BLIPAnswererConfig) -> dict[str, Tensor]:
    """What transformers' layout has no place for, and what stands in for it."""
    if isinstance(config, BLIPAnswererConfig):
        return {}
    found = {"steps": torch.tensor(0)}
    return found | {"temp": torch.tensor(0.07)} if config.text.reads else found


def blocks(config: BLIPConfig | BLIPAnswererConfig) -> int:
    """Blocks of the image tower and the text model."""
    layers = config.image.layers
    return config.text.layers + (sum(layers) if isinstance(layers, tuple) else layers)


def config_from_hf(
    content: Mapping[str, Any], name: str = "this model"
) -> BLIPConfig | BLIPAnswererConfig:
    """Our config from the content of a transformers config.json.

    Which of their three models it is must stand under "architectures"; what else is left out is as
    in transformers, whose defaults are not quite BLIP's.

    Raises:
        WeightsError: for another kind of model, settings that our BLIP does not have, or values
            that cannot be.
    """
    settings = Settings(content, name)
    if (kind := settings.get("model_type", "unknown")) != "blip":
        raise WeightsError(f"{name} is of the type {kind!r}; this layout is BLIP's ('blip')")
    said = settings.get("architectures")
    architecture = said[0] if isinstance(said, (list, tuple)) and said else said
    if not isinstance(architecture, str) or architecture not in ROLES:
        raise WeightsError(
            f"{name} is a {architecture!r:.60}; of transformers' BLIPs we have "
            f"{', '.join(ROLES)}: one of them must stand under architectures in its config.json"
        )
    settings.need("tie_word_embeddings", True, True)
    try:
        return _config_from_hf(settings, architecture)
    except ModelError as error:  # out of our own ranges
        raise WeightsError(f"{name} has a shape that cannot be built: {error}") from None


def _config_from_hf(settings: Settings, architecture: str) -> BLIPConfig | BLIPAnswererConfig:
    image, text = settings.part("vision_config"), settings.part("text_config")
    image.need("num_channels", 3, 3)
    image.need("hidden_act", "gelu", "gelu")
    text.need("hidden_act", "gelu", "gelu")
    text.need("is_decoder", True, True)  # else there is no cross-attention
    width = image.whole("hidden_size", 768)
    tower = BLIPViTConfig(
        image_size=image.square("image_size", 384),
        patch_size=image.square("patch_size", 16),
        width=width,
        layers=image.whole("num_hidden_layers", 12, LAYERS),
        heads=image.whole("num_attention_heads", 12, HEADS),
        mlp_ratio=image.whole("intermediate_size", 3072) / width,
        norm_eps=image.real("layer_norm_eps", 1e-5, 0.0, 1.0),
    )
    text_width, heads = text.whole("hidden_size", 768), text.whole("num_attention_heads", 8, HEADS)
    if (text_width, heads) == (768, 8):
        warnings.warn(
            f"{text.name}, says 8 heads (or nothing, and 8 is transformers' default), but BLIP was "
            "trained with 12: old settings on the hub were wrong, set num_attention_heads to 12",
            WeightsWarning,
            stacklevel=5,
        )
    vocabulary = text.whole("vocab_size", 30_524)
    last = vocabulary - 1
    dec = text.whole("bos_token_id", 30_522, last, low=0)
    med = MEDConfig(
        vocab_size=vocabulary,
        context=text.whole("max_position_embeddings", 512),
        width=text_width,
        layers=text.whole("num_hidden_layers", 12, LAYERS),
        heads=heads,
        mlp_ratio=text.whole("intermediate_size", 3072) / text_width,
        image_width=width,
        norm_eps=text.real("layer_norm_eps", 1e-12, 0.0, 1.0),
        cls=text.whole("cls_token_id", 101, last, low=0),  # transformers has no such setting, nor
        sep=text.whole("sep_token_id", 102, last, low=0),
        pad=text.whole("pad_token_id", 0, last, low=0),
        dec=dec,
        enc=text.whole("enc_token_id", dec + 1, last, low=0),  # such: the tokenizer knows them
    )
    role = ROLES[architecture]
    if role == "both":
        return BLIPAnswererConfig(tower, replace(med, sharing="none", source_width=text_width))
    return BLIPConfig(
        settings.whole("image_text_hidden_size", 256), tower, replace(med, roles=role),
        tasks=("itc", "itm") if role == "reader" else ("lm",), queue=0, momentum=0.0,
    )  # fmt: skip


def config_to_hf(config: BLIPConfig | BLIPAnswererConfig) -> dict[str, Any]:
    """Our config as the content of a transformers config.json.

    Raises:
        WeightsError: for what transformers' BLIP does not have.
    """
    image, text = config.image, config.text
    if not isinstance(image, BLIPViTConfig):
        raise WeightsError("transformers' BLIP has no ResNet tower: keep it in our own files")
    if not text.tied:
        raise WeightsError("transformers' BLIP has no head of its own: train one that is tied")
    if isinstance(config, BLIPAnswererConfig) and image.width != text.width:
        raise WeightsError(
            f"transformers' answerer looks at images and at questions with one width, not with "
            f"{image.width} and {text.width}: to_salesforce has a place for both"
        )
    return {
        "model_type": "blip",
        "architectures": [next(name for name, role in ROLES.items() if role == text.roles)],
        "image_text_hidden_size": config.embed if isinstance(config, BLIPConfig) else 256,
        "tie_word_embeddings": True,
        "vision_config": {
            "hidden_size": image.width,
            "intermediate_size": image.mlp_hidden,
            "num_hidden_layers": image.layers,
            "num_attention_heads": image.heads,
            "image_size": image.image_size,
            "patch_size": image.patch_size,
            "hidden_act": "gelu",
            "layer_norm_eps": image.norm_eps,
        },
        "text_config": {
            "vocab_size": text.vocab_size,
            "hidden_size": text.width,
            "encoder_hidden_size": image.width,
            "intermediate_size": text.mlp_hidden,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "max_position_embeddings": text.context,
            "hidden_act": "gelu",
            "layer_norm_eps": text.norm_eps,
            "is_decoder": True,
            "bos_token_id": text.dec,
            "sep_token_id": text.sep,
            "eos_token_id": text.sep,
            "pad_token_id": text.pad,
            "cls_token_id": text.cls,
            "enc_token_id": text.enc,
        },
    }


def one_role(model: BLIP, architecture: str | None) -> tuple[BLIPConfig, dict[str, Tensor]]:
    """What of a BLIP one of transformers' models has a place for: its config, and its weights.

    What is left out is warned of.

    Args:
        model: a BLIP.
        architecture: transformers' name; it need not be given when the model has one role.

    Raises:
        WeightsError: when it has both roles and none is named, or not the one that is named.
    """
    config = model.config
    names = {role: name for name, role in ROLES.items() if role != "both"}
    if architecture is None and config.text.roles in names:
        architecture = names[config.text.roles]
    role = ROLES.get(architecture or "")
    if role not in names or config.text.roles not in ("both", role):
        known = [names[one] for one in names if config.text.roles in ("both", one)]
        raise WeightsError(
            f"transformers has this BLIP as {' and '.join(known)}, not as {architecture}: pass "
            f'architecture="{known[0]}" (and questions: BLIPAnswerer.from_blip)'
        )
    half = replace(
        config, text=replace(config.text, roles=role), momentum=0.0, queue=0,
        tasks=("itc", "itm") if role == "reader" else ("lm",),
    )  # fmt: skip
    with torch.device("meta"):
        kept = weights_of(half.build())
    lost = ["the temperature"] if role == "reader" else []
    if config.text.roles == "both":
        lost += ["the writer"] if lost else ["the reader, the projections and the ITM head"]
    if model.twin is not None:
        lost += ["the momentum encoders and their queues"]
    if lost:
        said = f"{architecture} has no place for {', '.join(lost)}: left out"
        warnings.warn(said, WeightsWarning, stacklevel=4)
    whole = model.state_dict()
    return half, {name: whole[name] for name in kept}
