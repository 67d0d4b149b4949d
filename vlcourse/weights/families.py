"""How transformers stores the models of each type that we have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vlcourse.models.blip import BLIPConfig
from vlcourse.models.blip2 import BLIP2Config
from vlcourse.models.blip2_llm import BLIP2LLMConfig
from vlcourse.models.blip_vqa import BLIPAnswererConfig
from vlcourse.models.clip import CLIPConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.weights import blip, blip2, clip, llama, t5
from vlcourse.weights.rename import Rule


@dataclass(frozen=True)
class Family:
    """How transformers stores the models of one type."""

    config: type | tuple[type, ...]
    config_from_hf: Callable[[Mapping[str, Any], str], Any]
    config_to_hf: Callable[[Any], dict[str, Any]]
    table: Callable[[Any], list[Rule]]
    buffers: Callable[[Any], Collection[str]]
    """Names that hold no weights and may be there."""
    blocks: Callable[[Any], int]
    """How many blocks a model has, each with a tensor at least."""
    copies: Callable[[Any], Sequence[Sequence[str]]] = lambda config: ()
    """Groups of names that are one tensor: the table knows the first of a group, any may be left
    out."""
    lacks: Callable[[Any], Mapping[str, Tensor]] = lambda config: {}
    """What the table names and the layout has no place for, with what stands in for it."""


# By the model_type of their config.json.
FAMILIES = {
    "blip": Family(
        (BLIPConfig, BLIPAnswererConfig),
        blip.config_from_hf,
        blip.config_to_hf,
        blip.hf_table,
        blip.hf_buffers,
        blip.blocks,
        blip.hf_copies,
        blip.hf_lacks,
    ),
    "blip-2": Family(
        (BLIP2Config, BLIP2LLMConfig),
        blip2.config_from_hf,
        blip2.config_to_hf,
        blip2.hf_table,
        blip2.hf_buffers,
        blip2.blocks,
        blip2.hf_copies,
        blip2.hf_lacks,
    ),
    "clip": Family(
        CLIPConfig,
        clip.config_from_hf,
        clip.config_to_hf,
        lambda config: clip.hf_table(),
        lambda config: clip.HF_BUFFERS,
        clip.blocks,
    ),
    "llama": Family(
        LLaMAConfig,
        llama.config_from_hf,
        llama.config_to_hf,
        llama.hf_table,
        llama.hf_buffers,
        lambda config: config.layers,
        lambda config: [llama.hf_copies(config)],
    ),
    "t5": Family(
        Seq2SeqConfig,
        t5.config_from_hf,
        t5.config_to_hf,
        t5.hf_table,
        t5.hf_buffers,
        lambda config: config.encoder_layers + config.decoder_layers,
        lambda config: [t5.hf_copies(config)],
    ),
}
