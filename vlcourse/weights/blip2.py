"""BLIP-2 in transformers: ``Blip2ForImageTextRetrieval`` is the first stage without what writes,
``Blip2ForConditionalGeneration`` the second. The names are in :mod:`vlcourse.weights.blip2_names`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vlcourse.layers.errors import ModelError
from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.blip2_llm import BLIP2LLMConfig, LLMConfig
from vlcourse.models.eva import EVAConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.qformer import QFormer
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.models.transformers_llm import TransformersConfig
from vlcourse.weights import blip2_names as names_of
from vlcourse.weights import llama, t5
from vlcourse.weights.rename import Rule, WeightsError, WeightsWarning, fill, to_theirs
from vlcourse.weights.settings import HEADS, LAYERS, Settings
from vlcourse.weights.state import aliases, weights_of

Config = BLIP2Config | BLIP2LLMConfig
RETRIEVES, WRITES = "Blip2ForImageTextRetrieval", "Blip2ForConditionalGeneration"
LLM = "language_model."


class _Layout(Protocol):
    """A module of ours that knows how transformers stores a language model."""

    def hf_table(self, config: Any) -> list[Rule]: ...
    def hf_copies(self, config: Any) -> tuple[str, ...]: ...
    def hf_buffers(self, config: Any) -> Any: ...
    def config_from_hf(self, content: Mapping[str, Any], name: str = "") -> Any: ...
    def config_to_hf(self, config: Any) -> dict[str, Any]: ...


# The language models that become ours; any other stays transformers' own.
_OURS: dict[str, _Layout] = {"t5": t5, "llama": llama}


def _layout(config: LLMConfig) -> _Layout | None:
    return (
        t5
        if isinstance(config, Seq2SeqConfig)
        else (llama if isinstance(config, LLaMAConfig) else None)
    )


def hf_table(config: Config) -> list[Rule]:
    """transformers' names."""
    rules = [*names_of.hf_eva(), *names_of.hf_qformer()]
    if isinstance(config, BLIP2Config):
        return [*rules, *names_of.heads("vision_projection", "text_projection")]
    rules.append(Rule("projection.*", "language_projection.*"))
    if layout := _layout(config.llm):
        inner = layout.hf_table(config.llm)
        return rules + [
            replace(rule, ours=f"llm.{rule.ours}", theirs=LLM + rule.theirs) for rule in inner
        ]
    return rules + [Rule(f"llm.model.{name}", LLM + name) for name in weights_of(_theirs(config))]


def hf_copies(config: Config) -> list[tuple[str, ...]]:
    """Groups of names that are one tensor; the table knows the first."""
    if isinstance(config, BLIP2Config):
        return []
    if layout := _layout(config.llm):
        return [tuple(LLM + name for name in layout.hf_copies(config.llm))]
    return [(LLM + first, LLM + alias) for alias, first in aliases(_theirs(config)).items()]


def hf_buffers(config: Config) -> tuple[str, ...]:
    """Names that hold no weights and may be there."""
    copies = [name for group in hf_copies(config) for name in group[1:]]
    if isinstance(config, BLIP2LLMConfig) and (layout := _layout(config.llm)):
        copies += [LLM + name for name in layout.hf_buffers(config.llm)]
    return (*copies, *names_of.HF_BUFFERS)


def hf_lacks(config: Config) -> dict[str, Tensor]:
    """What transformers' layout has no place for, and what stands in for it."""
    return {"temp": torch.tensor(0.07)} if isinstance(config, BLIP2Config) else {}


def blocks(config: Config) -> int:
    """Blocks of the image tower and the Q-Former."""
    layers = config.image.layers
    return config.qformer.layers + (sum(layers) if isinstance(layers, tuple) else layers)


def _theirs(config: BLIP2LLMConfig) -> nn.Module:
    """transformers' language model without its numbers, for its names."""
    with torch.device("meta"):
        model: Any = config.llm.build()
    return model.model


def config_from_hf(content: Mapping[str, Any], name: str = "this model") -> Config:
    """Our config from the content of a transformers config.json.

    Which of their two models it is must stand under "architectures". A T5 or LLaMA inside becomes
    ours, another language model stays transformers'.

    Raises:
        WeightsError: for another kind of model, settings that our BLIP-2 does not have, or values
            that cannot be.
    """
    settings = Settings(content, name)
    if (kind := settings.get("model_type", "unknown")) != "blip-2":
        raise WeightsError(f"{name} is of the type {kind!r}; this layout is BLIP-2's ('blip-2')")
    said = settings.get("architectures")
    architecture = said[0] if isinstance(said, (list, tuple)) and said else said
    if architecture not in (RETRIEVES, WRITES):
        raise WeightsError(
            f"{name} is a {architecture!r:.60}; of transformers' BLIP-2s we have {RETRIEVES} and "
            f"{WRITES}: one of them must stand under architectures in its config.json"
        )
    try:
        return _config_from_hf(settings, architecture)
    except ModelError as error:  # out of our own ranges
        raise WeightsError(f"{name} has a shape that cannot be built: {error}") from None


def _config_from_hf(settings: Settings, architecture: str) -> Config:
    image = settings.part("vision_config")
    image.need("hidden_act", "gelu", "gelu")
    image.need("qkv_bias", True, True)
    width, eps = image.whole("hidden_size", 1408), image.real("layer_norm_eps", 1e-6, 0.0, 1.0)
    tower = EVAConfig(
        image_size=image.square("image_size", 224),
        patch_size=image.square("patch_size", 14),
        width=width,
        layers=image.whole("num_hidden_layers", 39, LAYERS),
        heads=image.whole("num_attention_heads", 16, HEADS),
        mlp_ratio=image.whole("intermediate_size", 6144) / width,
        norm_eps=eps,
    )
    retrieves = architecture == RETRIEVES
    queries = settings.whole("num_query_tokens", 32)
    qformer = _qformer(settings.part("qformer_config"), queries, retrieves, width)
    if retrieves:
        embed = settings.whole("image_text_hidden_size", 256)
        return BLIP2Config(embed, tower, norm_eps=eps, qformer=qformer, tasks=("itc", "itm"))
    return BLIP2LLMConfig(tower, norm_eps=eps, qformer=qformer, llm=_llm(settings))


def _llm(settings: Settings) -> LLMConfig:
    text = settings.get("text_config", {"model_type": "opt"})
    kind = Settings(text, f"{settings.name}, text_config").get("model_type", "opt")
    if isinstance(kind, str) and kind in _OURS:
        return _OURS[kind].config_from_hf(text, f"{settings.name}, text_config")
    try:
        return TransformersConfig(json.dumps({**text, "model_type": kind}, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"text_config of {settings.name} is no JSON: {error}") from None


def _qformer(text: Settings, queries: int, reads: bool, image_width: int) -> QFormerConfig:
    text.need("hidden_act", "gelu", "gelu")
    text.need("use_qformer_text_input", False, reads)
    width, vocabulary = text.whole("hidden_size", 768), text.whole("vocab_size", 30_522)
    last = vocabulary - 1
    ids = {
        name: text.whole(f"{name}_token_id", min(usual, last), last, low=0)
        for name, usual in (("cls", 101), ("sep", 102), ("pad", 0), ("dec", 30_522))
    }
    return QFormerConfig(
        queries=queries,
        vocab_size=vocabulary,
        context=text.whole("max_position_embeddings", 512),
        width=width,
        layers=text.whole("num_hidden_layers", 12, LAYERS),
        heads=text.whole("num_attention_heads", 12, HEADS),
        mlp_ratio=text.whole("intermediate_size", 3072) / width,
        image_width=image_width,
        cross_every=text.whole("cross_attention_frequency", 2, LAYERS),
        norm_eps=text.real("layer_norm_eps", 1e-12, 0.0, 1.0),
        text="reads" if reads else "none",
        **ids,
    )


def config_to_hf(config: Config) -> dict[str, Any]:
    """Our config as the content of a transformers config.json. (The id that stands for a query in
    their prompts is the language model's last one.)

    Raises:
        WeightsError: for what transformers' BLIP-2 does not have.
    """
    image, q = config.image, config.qformer
    if not isinstance(image, EVAConfig):
        raise WeightsError(
            f"transformers' BLIP-2 has EVA's tower only, no {type(image).__name__}: keep it in our "
            "own files"
        )
    if image.norm_eps != config.norm_eps:
        warnings.warn(
            f"transformers' BLIP-2 has one epsilon, and takes the tower's {image.norm_eps} for the "
            f"image tokens' norm, too, which has {config.norm_eps}",
            WeightsWarning,
            stacklevel=4,
        )
    found: dict[str, Any] = {
        "model_type": "blip-2",
        "architectures": [RETRIEVES if isinstance(config, BLIP2Config) else WRITES],
        "num_query_tokens": q.queries,
        "vision_config": {
            "hidden_size": image.width,
            "intermediate_size": image.mlp_hidden,
            "num_hidden_layers": image.layers,
            "num_attention_heads": image.heads,
            "image_size": image.image_size,
            "patch_size": image.patch_size,
            "hidden_act": "gelu",
            "layer_norm_eps": image.norm_eps,
            "qkv_bias": True,
        },
        "qformer_config": qformer_to_hf(q),
    }
    if isinstance(config, BLIP2Config):
        return found | {"image_text_hidden_size": config.embed}
    if layout := _layout(config.llm):
        text = layout.config_to_hf(config.llm)
    else:
        assert isinstance(config.llm, TransformersConfig)
        text = config.llm.theirs().to_dict()
    return found | {"text_config": text, "image_token_index": text["vocab_size"] - 1}


def qformer_to_hf(q: QFormerConfig) -> dict[str, Any]:
    """A Q-Former's config as transformers takes it."""
    return {
        "model_type": "blip_2_qformer",
        "vocab_size": q.vocab_size,
        "hidden_size": q.width,
        "num_hidden_layers": q.layers,
        "num_attention_heads": q.heads,
        "intermediate_size": q.mlp_hidden,
        "hidden_act": "gelu",
        "max_position_embeddings": q.context,
        "layer_norm_eps": q.norm_eps,
        "cross_attention_frequency": q.cross_every,
        "encoder_hidden_size": q.image_width,
        "use_qformer_text_input": q.reads,
        "pad_token_id": q.pad,
    }


def reader_of(model: BLIP2) -> tuple[BLIP2Config, dict[str, Tensor]]:
    """What of a first stage transformers has a place for: its config, and its weights. The rest,
    the head that writes and the temperature, is warned of."""
    old = model.config
    half = replace(old, qformer=replace(old.qformer, text="reads"), tasks=("itc", "itm"))
    lost = ["the temperature", *(["the head that writes"] if old.qformer.writes else [])]
    warnings.warn(
        f"{RETRIEVES} has no place for {', '.join(lost)}: left out", WeightsWarning, stacklevel=4
    )
    weights = weights_of(model)
    return half, {n: t for n, t in weights.items() if not n.startswith("qformer.head.")}


def qformer_from_hf(model: nn.Module, queries: int = 32) -> QFormer:
    """Our Q-Former with the blocks of a bare ``Blip2QFormerModel``, which has no queries: they are
    fresh ones. In eval mode.

    Raises:
        WeightsError: for one with text, whose embeddings lie elsewhere; other settings that ours
            does not have; or the missing, unused and misshapen names.
    """
    content: Any = model.config.to_dict()  # type: ignore[operator,union-attr]
    settings = Settings(content, type(model).__name__)
    if settings.flag("use_qformer_text_input", False):
        raise WeightsError(f"a bare Q-Former has no words: take the {RETRIEVES} that it is in")
    image_width = settings.whole("encoder_hidden_size", 1408)
    config = _qformer(settings, queries, False, image_width)
    made = QFormer(config)
    theirs = {**model.state_dict(), "query_tokens": made.queries.detach()[None].clone()}
    fill(made, theirs, bare_table(), source=settings.name)
    return made.eval()


def qformer_to_transformers(model: QFormer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A Q-Former's blocks and norm, and its config, as ``Blip2QFormerModel`` takes them."""
    kept = {
        name: tensor
        for name, tensor in weights_of(model).items()
        if name != "queries" and not name.startswith(("words.", "head."))
    }
    return to_theirs(kept, bare_table()), qformer_to_hf(model.config)


def bare_table() -> list[Rule]:
    """The names of a ``Blip2QFormerModel``."""
    return [
        Rule("queries", "query_tokens", "lead", axes=1),
        Rule("norm.*", "layernorm.*"),
        *names_of.qformer_blocks("", "encoder.", "attention"),
    ]
