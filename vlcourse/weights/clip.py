"""How others name CLIP's weights and settings: transformers' layout and OpenAI's.

A rename table for each, and our config from theirs. ``vlcourse.weights.load`` uses them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.weights.rename import Rule, WeightsError

# Names that checkpoints may hold beside the weights.
OPENAI_SCALARS = ("input_resolution", "context_length", "vocab_size")
HF_BUFFERS = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


def hf_table() -> list[Rule]:
    """transformers' names. "pre_layrnorm" is their spelling."""
    rules = [
        Rule("log_scale", "logit_scale", "scalar"),
        Rule("image.class_token", "vision_model.embeddings.class_embedding"),
        Rule("image.patch.weight", "vision_model.embeddings.patch_embedding.weight"),
        Rule("image.positions", "vision_model.embeddings.position_embedding.weight"),
        Rule("image.norm_pre.*", "vision_model.pre_layrnorm.*"),
        Rule("image.norm_post.*", "vision_model.post_layernorm.*"),
        Rule("image_projection.weight", "visual_projection.weight"),
        Rule("text.token.weight", "text_model.embeddings.token_embedding.weight"),
        Rule("text.positions", "text_model.embeddings.position_embedding.weight"),
        Rule("text.norm_final.*", "text_model.final_layer_norm.*"),
        Rule("text_projection.weight", "text_projection.weight"),
    ]
    for ours, theirs in (("image", "vision_model"), ("text", "text_model")):
        block, layer = f"{ours}.blocks.*", f"{theirs}.encoder.layers.*"
        rules += [
            *(Rule(f"{block}.attention.{p}.*", f"{layer}.self_attn.{p}_proj.*") for p in "qkv"),
            Rule(f"{block}.attention.out.*", f"{layer}.self_attn.out_proj.*"),
            Rule(f"{block}.norm1.*", f"{layer}.layer_norm1.*"),
            Rule(f"{block}.norm2.*", f"{layer}.layer_norm2.*"),
            Rule(f"{block}.mlp.up.*", f"{layer}.mlp.fc1.*"),
            Rule(f"{block}.mlp.down.*", f"{layer}.mlp.fc2.*"),
        ]
    return rules


def openai_table(config: CLIPConfig, text: str = "") -> list[Rule]:
    """OpenAI's names; ``text`` is what stands before the text tower's ("text." in open_clip)."""
    rules = [
        Rule("log_scale", "logit_scale", "scalar"),
        Rule("text.token.weight", f"{text}token_embedding.weight"),
        Rule("text.positions", f"{text}positional_embedding"),
        Rule("text.norm_final.*", f"{text}ln_final.*"),
        Rule("text_projection.weight", f"{text}text_projection", "transpose"),
        *_openai_blocks("text.blocks.*", f"{text}transformer.resblocks.*"),
    ]
    if isinstance(config.image, ViTConfig):
        return rules + [
            Rule("image.class_token", "visual.class_embedding"),
            Rule("image.patch.weight", "visual.conv1.weight"),
            Rule("image.positions", "visual.positional_embedding"),
            Rule("image.norm_pre.*", "visual.ln_pre.*"),
            Rule("image.norm_post.*", "visual.ln_post.*"),
            Rule("image_projection.weight", "visual.proj", "transpose"),
            *_openai_blocks("image.blocks.*", "visual.transformer.resblocks.*"),
        ]
    for i in range(3):  # our stem is a Sequential of (convolution, norm, ReLU) three times
        rules += [
            Rule(f"image.stem.{3 * i}.*", f"visual.conv{i + 1}.*"),
            Rule(f"image.stem.{3 * i + 1}.*", f"visual.bn{i + 1}.*"),
        ]
    places = [(stage, i) for stage, n in enumerate(config.image.layers, 1) for i in range(n)]
    for number, (stage, i) in enumerate(places):
        block, layer = f"image.blocks.{number}", f"visual.layer{stage}.{i}"
        rules += [
            Rule(f"{block}.*.*", f"{layer}.*.*"),  # conv1 to conv3 and bn1 to bn3
            Rule(f"{block}.shortcut.conv.*", f"{layer}.downsample.0.*"),
            Rule(f"{block}.shortcut.bn.*", f"{layer}.downsample.1.*"),
        ]
    return rules + [
        Rule("image.pool.positions", "visual.attnpool.positional_embedding"),
        *(Rule(f"image.pool.attention.{p}.*", f"visual.attnpool.{p}_proj.*") for p in "qkv"),
        Rule("image.pool.attention.out.*", "visual.attnpool.c_proj.*"),
    ]


def _openai_blocks(block: str, layer: str) -> list[Rule]:
    return [
        Rule(f"{block}.attention.{{q,k,v}}.weight", f"{layer}.attn.in_proj_weight", "rows"),
        Rule(f"{block}.attention.{{q,k,v}}.bias", f"{layer}.attn.in_proj_bias", "rows"),
        Rule(f"{block}.attention.out.*", f"{layer}.attn.out_proj.*"),
        Rule(f"{block}.norm1.*", f"{layer}.ln_1.*"),
        Rule(f"{block}.norm2.*", f"{layer}.ln_2.*"),
        Rule(f"{block}.mlp.up.*", f"{layer}.mlp.c_fc.*"),
        Rule(f"{block}.mlp.down.*", f"{layer}.mlp.c_proj.*"),
    ]


def config_from_hf(settings: Mapping[str, Any], name: str = "this model") -> CLIPConfig:
    """Our config from the content of a transformers config.json; what it leaves out is ViT-B/32's.

    Raises:
        WeightsError: for another kind of model, or settings that our CLIP does not have.
    """
    if settings.get("model_type") != "clip":
        kind = settings.get("model_type", "unknown")
        raise WeightsError(f"{name} is of the type {kind!r}; this layout is CLIP's ('clip')")
    # Old files hold a second copy of each tower's settings, which transformers gives precedence.
    image, text = (
        {**(settings.get(f"{tower}_config") or {}), **(settings.get(f"{tower}_config_dict") or {})}
        for tower in ("vision", "text")
    )
    if _square(image.get("num_channels", 3)) != 3:
        raise WeightsError(f"{name} takes {image['num_channels']} channels, our towers take 3")
    vocabulary = text.get("vocab_size", 49408)
    # 2 is what old files say; transformers then takes the largest id, as we do.
    if text.get("eos_token_id", 2) not in (2, vocabulary - 1):
        raise WeightsError(
            f"{name} ends its texts with the id {text['eos_token_id']}; our text tower needs the "
            f"largest id, {vocabulary - 1}"
        )
    return CLIPConfig(
        settings.get("projection_dim", 512),
        ViTConfig(
            image_size=_square(image.get("image_size", 224)),
            patch_size=_square(image.get("patch_size", 32)),
            **_tower_from_hf(image, 768, 12, name),
        ),
        TextConfig(
            vocab_size=vocabulary,
            context=text.get("max_position_embeddings", 77),
            **_tower_from_hf(text, 512, 8, name),
        ),
    )


def _tower_from_hf(settings: Mapping[str, Any], width: int, heads: int, name: str) -> Any:
    """What both towers have. ``width`` and ``heads`` stand in for what the file leaves out."""
    hidden = settings.get("intermediate_size", 4 * width)
    width = settings.get("hidden_size", width)
    activation = settings.get("hidden_act", "quick_gelu")
    if activation not in ("gelu", "quick_gelu"):
        raise WeightsError(f"{name} uses {activation!r}; our MLP knows gelu and quick_gelu")
    if (eps := settings.get("layer_norm_eps", 1e-5)) != 1e-5:
        raise WeightsError(f"{name} has layer_norm_eps {eps}; our towers have 1e-05")
    return {
        "width": width,
        "layers": settings.get("num_hidden_layers", 12),
        "heads": settings.get("num_attention_heads", heads),
        "mlp_ratio": hidden / width,
        "activation": activation,
    }


def config_to_hf(config: CLIPConfig) -> dict[str, Any]:
    """Our config as the content of a transformers config.json.

    Raises:
        WeightsError: for a ResNet, which transformers' CLIP does not have.
    """
    image, text = config.image, config.text
    if not isinstance(image, ViTConfig):
        raise WeightsError("transformers' CLIP has no ResNet tower: use to_openai")
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": config.embed,
        "vision_config": {
            **_tower_to_hf(image, config.embed),
            "image_size": image.image_size,
            "patch_size": image.patch_size,
        },
        "text_config": {
            **_tower_to_hf(text, config.embed),
            "vocab_size": text.vocab_size,
            "max_position_embeddings": text.context,
            "bos_token_id": text.vocab_size - 2,
            "eos_token_id": text.vocab_size - 1,
            "pad_token_id": 0,
        },
    }


def _tower_to_hf(config: ViTConfig | TextConfig, embed: int) -> dict[str, Any]:
    return {
        "hidden_size": config.width,
        "intermediate_size": round(config.width * config.mlp_ratio),
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "hidden_act": config.activation,
        "layer_norm_eps": 1e-5,
        "projection_dim": embed,
    }


def config_from_openai(
    weights: Mapping[str, Any],
    prefix: str = "",
    activation: str = "quick_gelu",
    image_heads: int | None = None,
    text_heads: int | None = None,
) -> CLIPConfig:
    """Our config from the shapes of a state dict in OpenAI's layout.

    Raises:
        KeyError: when a name that the shape is read from is missing.
        WeightsError: when the shapes do not tell the heads or the size of the image.
    """

    def shape(name: str) -> tuple[int, ...]:
        return tuple(weights[name].shape)

    def tower(name: str, width: int, heads: int | None) -> Any:
        numbers = [re.match(rf"{re.escape(name)}\.(\d+)\.", key) for key in weights]
        return {
            "width": width,
            "layers": 1 + max((int(m[1]) for m in numbers if m), default=-1),
            "heads": heads or _heads(width, name),
            "mlp_ratio": shape(f"{name}.0.mlp.c_fc.bias")[0] / width,
            "activation": activation,
        }

    image: ViTConfig | ResNetConfig
    if "visual.layer1.0.conv1.weight" in weights:
        stages = [re.match(r"visual\.layer(\d)\.(\d+)\.", key) for key in weights]
        blocks = [(int(m[1]), int(m[2])) for m in stages if m]
        one, two, three, four = (
            1 + max((i for s, i in blocks if s == stage), default=-1) for stage in range(1, 5)
        )
        width = shape("visual.conv3.weight")[0]
        image = ResNetConfig(
            image_size=32 * _grid(shape("visual.attnpool.positional_embedding")[0]),
            layers=(one, two, three, four),
            width=width,
            heads=image_heads or _heads(32 * width, "the attention pooling"),
        )
    else:
        width, _, _, patch = shape("visual.conv1.weight")
        image = ViTConfig(
            image_size=patch * _grid(shape("visual.positional_embedding")[0]),
            patch_size=patch,
            **tower("visual.transformer.resblocks", width, image_heads),
        )
    vocabulary, width = shape(f"{prefix}token_embedding.weight")
    text = TextConfig(
        vocab_size=vocabulary,
        context=shape(f"{prefix}positional_embedding")[0],
        **tower(f"{prefix}transformer.resblocks", width, text_heads),
    )
    return CLIPConfig(shape(f"{prefix}text_projection")[-1], image, text)


def _heads(width: int, tower: str) -> int:
    if width % 64:
        raise WeightsError(
            f"the heads of {tower} cannot be told from its width {width}, which is no multiple of "
            "64: pass image_heads and text_heads"
        )
    return width // 64


def _grid(positions: int) -> int:
    side = math.isqrt(positions - 1)
    if side * side != positions - 1:
        raise WeightsError(f"{positions} positions are not one and a square grid of patches")
    return side


def _square(size: Any) -> int:
    """A size that some files write as [height, width]."""
    if isinstance(size, (list, tuple)):
        if len(set(size)) != 1:
            raise WeightsError(f"images and patches of our towers are square, not {size}")
        size = size[0]
    return int(size)
