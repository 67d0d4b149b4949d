"""The shape of a CLIP in OpenAI's layout: from open_clip's settings, or from the weights alone.

The weights tell every size, but neither the heads nor which GELU they were trained with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vlcourse.models.clip import PRESETS, CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.weights.rename import WeightsError
from vlcourse.weights.settings import HEADS, LAYERS, Settings

_IMAGE = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
# What changes training alone, or nothing, in our towers.
_IDLE = {"patch_dropout", "output_tokens", "hf_tokenizer_name", "tokenizer_mode",
         "tokenizer_kwargs", "attn_pooler_queries", "attn_pooler_heads", "pad_id", "eos_id",
         "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop",
         "timm_drop_path", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"}  # fmt: skip
_TOP = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale",
        "nonscalar_logit_scale"}  # fmt: skip


def config_from_open_clip(content: Mapping[str, Any], name: str = "this model") -> CLIPConfig:
    """Our config from the content of an open_clip_config.json, or of its "model_cfg".

    Raises:
        WeightsError: for settings that our CLIP does not have, or values that cannot be.
    """
    settings = Settings(content, name)
    if "model_cfg" in settings:
        settings = settings.part("model_cfg")
    image, text = settings.part("vision_cfg"), settings.part("text_cfg")
    _refuse_others(settings, _TOP)
    _refuse_others(image, _IMAGE, pool_type="tok", pos_embed_type="learnable")
    _refuse_others(text, _TEXT, pool_type="argmax", proj_type="linear")
    activation = "quick_gelu" if settings.flag("quick_gelu", False) else "gelu"
    head = image.whole("head_width", 64, HEADS)
    tower: ViTConfig | ResNetConfig
    if isinstance(stages := image.get("layers", 12), (list, tuple)):
        one, two, three, four = _stages(image, stages)
        width = image.whole("width", 64)
        size, heads = image.square("image_size", 224), _heads(image, 32 * width, head)
        tower = ResNetConfig(size, (one, two, three, four), width, heads)
    else:
        width = image.whole("width", 768)
        tower = ViTConfig(
            image_size=image.square("image_size", 224),
            patch_size=image.whole("patch_size", 16),
            width=width,
            layers=image.whole("layers", 12, LAYERS),
            heads=_heads(image, width, head),
            mlp_ratio=_ratio(image, width),
            activation=activation,
        )
    width = text.whole("width", 512)
    return CLIPConfig(
        settings.whole("embed_dim", None),
        tower,
        TextConfig(
            vocab_size=text.whole("vocab_size", 49408),
            context=text.whole("context_length", 77),
            width=width,
            layers=text.whole("layers", 12, LAYERS),
            heads=text.whole("heads", 8, HEADS),
            mlp_ratio=_ratio(text, width),
            activation=activation,
        ),
    )


def _refuse_others(settings: Settings, known: set[str], **usual: str) -> None:
    """Refuse settings that change what the model computes and that ours does not have.

    ``usual`` are the values that open_clip gives to some when they are left out.
    """
    for key in settings.content:
        value = settings.get(key)
        if key in known | _IDLE or value in (None, False, {}, usual.get(key)):
            continue
        raise WeightsError(f"{settings.name} has {key} {value!r:.60}, which our CLIP does not have")


def _stages(image: Settings, stages: Any) -> list[int]:
    if len(stages) != 4:
        raise image.error("layers", stages, "four stages")
    numbers = Settings({f"stage {i}": stage for i, stage in enumerate(stages)}, image.name)
    return [numbers.whole(stage, None, LAYERS) for stage in numbers.content]


def _heads(image: Settings, width: int, head: int) -> int:
    if width % head:
        raise image.error("head_width", head, f"a divisor of the width {width}")
    return width // head


def _ratio(tower: Settings, width: int) -> float:
    """open_clip cuts the hidden size to a whole number: 1664 · 4.9231 is 8192."""
    return max(1, int(width * tower.real("mlp_ratio", 4.0, 0.0, 1024.0))) / width


def config_from_shapes(
    weights: Mapping[str, Any],
    prefix: str,
    activation: str | None,
    image_heads: int | None,
    text_heads: int | None,
) -> tuple[CLIPConfig, list[str]]:
    """Our config from the shapes of a state dict in OpenAI's layout, and what was only supposed.

    OpenAI's own models are known by their shapes (Radford et al. 2021, tables 19 and 20). For
    others the names of the arguments that must be given are returned.

    Raises:
        KeyError: when a name that the shape is read from is missing.
        WeightsError: when the shapes are not a CLIP's.
    """

    def shape(name: str, axes: int) -> tuple[int, ...]:
        found = tuple(getattr(weights[name], "shape", ()))
        if len(found) != axes or 0 in found:
            raise WeightsError(f"{name} has the shape {found}, which is not OpenAI's layout")
        return found

    def numbers(pattern: str) -> list[str]:
        found = [re.match(pattern, key) for key in weights]
        return [match[1] for match in found if match]

    def tower(name: str, width: int, heads: int | None) -> Any:
        return {
            "width": width,
            "layers": len(set(numbers(rf"{re.escape(name)}\.(\d+)\."))),
            "heads": heads or 1,
            "mlp_ratio": shape(f"{name}.0.mlp.c_fc.bias", 1)[0] / width,
            "activation": activation or "quick_gelu",
        }

    image: ViTConfig | ResNetConfig
    if "visual.layer1.0.conv1.weight" in weights:
        one, two, three, four = (
            len(set(numbers(rf"visual\.layer{stage}\.(\d+)\."))) for stage in range(1, 5)
        )
        image = ResNetConfig(
            image_size=32 * _grid(shape("visual.attnpool.positional_embedding", 2)[0]),
            layers=(one, two, three, four),
            width=shape("visual.conv3.weight", 4)[0],
            heads=image_heads or 1,
        )
    else:
        width, _, _, patch = shape("visual.conv1.weight", 4)
        image = ViTConfig(
            image_size=patch * _grid(shape("visual.positional_embedding", 2)[0]),
            patch_size=patch,
            **tower("visual.transformer.resblocks", width, image_heads),
        )
    vocabulary, width = shape(f"{prefix}token_embedding.weight", 2)
    text = TextConfig(
        vocab_size=vocabulary,
        context=shape(f"{prefix}positional_embedding", 2)[0],
        **tower(f"{prefix}transformer.resblocks", width, text_heads),
    )
    config = CLIPConfig(shape(f"{prefix}text_projection", 2)[-1], image, text)
    bare = with_heads(config, 1, 1, "quick_gelu")
    for preset in PRESETS.values():
        if with_heads(preset, 1, 1, "quick_gelu") == bare:
            heads = (image_heads or preset.image.heads, text_heads or preset.text.heads)
            return with_heads(preset, *heads, activation or "quick_gelu"), []
    given = {"activation": activation, "image_heads": image_heads, "text_heads": text_heads}
    return config, [name for name, value in given.items() if not value]


def with_heads(config: CLIPConfig, image: int, text: int, activation: str) -> CLIPConfig:
    """The same sizes with what the weights do not tell."""
    tower = replace(config.image, heads=image)
    if isinstance(tower, ViTConfig):
        tower = replace(tower, activation=activation)
    return replace(
        config, image=tower, text=replace(config.text, heads=text, activation=activation)
    )


def _grid(positions: int) -> int:
    side = math.isqrt(positions - 1)
    if side * side != positions - 1:
        raise WeightsError(f"{positions} positions are not one and a square grid of patches")
    return side
