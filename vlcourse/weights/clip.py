"""How others name CLIP's weights and settings: transformers' layout and OpenAI's.

A rename table for each, and our config from theirs. ``vlcourse.weights.load`` uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlcourse.layers.block import ACTIVATIONS
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.weights.rename import Rule, WeightsError
from vlcourse.weights.settings import HEADS, LAYERS, Settings

# Names that checkpoints may hold beside the weights.
OPENAI_SCALARS = ("input_resolution", "context_length", "vocab_size")
HF_BUFFERS = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


def blocks(config: CLIPConfig) -> int:
    """Blocks of both towers."""
    layers = config.image.layers
    return config.text.layers + (sum(layers) if isinstance(layers, tuple) else layers)


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


def config_from_hf(content: Mapping[str, Any], name: str = "this model") -> CLIPConfig:
    """Our config from the content of a transformers config.json; what it leaves out is ViT-B/32's.

    Raises:
        WeightsError: for another kind of model, settings that our CLIP does not have, or values
            that cannot be.
    """
    settings = Settings(content, name)
    if (kind := settings.get("model_type", "unknown")) != "clip":
        raise WeightsError(f"{name} is of the type {kind!r}; this layout is CLIP's ('clip')")
    # Old files hold a second copy of each tower's settings, which transformers gives precedence.
    image, text = (
        Settings(
            {**settings.part(f"{tower}_config").content}
            | {**settings.part(f"{tower}_config_dict").content},
            f"{name}, {tower}_config",
        )
        for tower in ("vision", "text")
    )
    image.need("num_channels", 3, 3)
    vocabulary = text.whole("vocab_size", 49408, low=3)
    # 2 is what old files say; transformers then takes the largest id, as we do.
    text.need("eos_token_id", 2, 2, vocabulary - 1)
    return CLIPConfig(
        settings.whole("projection_dim", 512),
        ViTConfig(
            image_size=image.square("image_size", 224),
            patch_size=image.square("patch_size", 32),
            **_tower_from_hf(image, 768, 12),
        ),
        TextConfig(
            vocab_size=vocabulary,
            context=text.whole("max_position_embeddings", 77),
            **_tower_from_hf(text, 512, 8),
        ),
    )


def _tower_from_hf(settings: Settings, width: int, heads: int) -> Any:
    """What both towers have. ``width`` and ``heads`` stand in for what the file leaves out."""
    hidden = settings.whole("intermediate_size", 4 * width)
    width = settings.whole("hidden_size", width)
    settings.need("layer_norm_eps", 1e-5, 1e-5)
    return {
        "width": width,
        "layers": settings.whole("num_hidden_layers", 12, LAYERS),
        "heads": settings.whole("num_attention_heads", heads, HEADS),
        "mlp_ratio": hidden / width,
        "activation": settings.need("hidden_act", "quick_gelu", *sorted(ACTIVATIONS)),
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
