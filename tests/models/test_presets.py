"""Published models by name: every config knows its own, and an unknown name is refused alike."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from vlcourse.layers.errors import ModelError
from vlcourse.models import (
    adapter,
    adapter_v2,
    blip,
    blip2,
    blip2_llm,
    clip,
    llama,
    seq2seq,
    videochat,
)


@pytest.mark.parametrize(
    ("module", "config", "kind", "unknown", "close"),
    [
        (clip, clip.CLIPConfig, "CLIP", "vit-l/14", "ViT-L/14"),
        (blip, blip.BLIPConfig, "BLIP", "ViT-B", "ViT-B/16"),
        (blip2, blip2.BLIP2Config, "BLIP-2", "ViT-G/14", "ViT-g/14"),
        (
            blip2_llm, blip2_llm.BLIP2LLMConfig, "BLIP-2 with a language model",
            "ViT-g OPT-2.7", "ViT-g OPT-2.7B",
        ),
        (llama, llama.LLaMAConfig, "LLaMA", "13b", "13B"),
        (llama, llama.LLaMAConfig, "LLaMA", "3.2-1b", "3.2-1B"),
        (seq2seq, seq2seq.Seq2SeqConfig, "T5 v1.1", "XXXL", "xxl"),
        (adapter, adapter.AdapterConfig, "LLaMA-Adapter", "7b", "7B"),
        (adapter_v2, adapter_v2.AdapterV2Config, "LLaMA-Adapter V2", "7b", "7B"),
        (videochat, videochat.VideoChatConfig, "VideoChat", "13", "13B"),
    ],
)  # fmt: skip
def test_a_name_gives_its_config_and_a_slip_of_it_is_told_the_nearest(
    module: ModuleType, config: Any, kind: str, unknown: str, close: str
) -> None:
    for name, shape in module.PRESETS.items():
        assert config.preset(name) is shape and isinstance(shape, config)
    with pytest.raises(ModelError) as refused:
        config.preset(unknown)
    said = f"there is no published {kind} {unknown!r}; did you mean {close!r}?"
    assert str(refused.value) == said


def test_where_no_name_is_near_all_are_told() -> None:
    assert llama.LLaMAConfig.preset("3.2-1B") is llama.LLAMA3["3.2-1B"]
    with pytest.raises(ModelError) as refused:
        videochat.VideoChatConfig.preset("?!")
    assert str(refused.value) == "there is no published VideoChat '?!'; known: 7B, 13B"
