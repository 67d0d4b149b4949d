"""What no model can be is refused in a sentence when its config is made, before any memory is."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlcourse import VlcourseError
from vlcourse.models.adapter import AdapterConfig, ImageAdapterConfig
from vlcourse.models.adapter_v2 import AdapterV2Config
from vlcourse.models.blip2 import BLIP2Config
from vlcourse.models.blip2_llm import BLIP2LLMConfig
from vlcourse.models.clip import PRESETS as CLIPS
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.eva import EVAConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.lora import LoRAConfig
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.teach.llama.gpt2 import GPT2Config

LLAMA = LLaMAConfig(61, 32, 2, 4)
T5 = Seq2SeqConfig(61, 32, 2, 2, 4, 8, 40, buckets=8, max_distance=16)
GPT2 = GPT2Config(61, 32, 2, 4)
VIT = ViTConfig(12, 4, 32, 2, 4)
TEXT = TextConfig(61, 19, 32, 2, 4)
RESNET = ResNetConfig(32, (1, 1, 1, 1), 4, 4)
CLIP = CLIPConfig(16, VIT, TEXT)
QFORMER = QFormerConfig(
    3, 61, 19, 32, 2, 4, image_width=32, text="none", cls=1, sep=2, pad=0, dec=3
)
EVA = EVAConfig(12, 4, 32, 2, 4, 2.0)
STAGE1 = BLIP2Config(16, EVA, qformer=replace(QFORMER, text="writes"))
STAGE2 = BLIP2LLMConfig(VIT, 16, qformer=QFORMER, llm=LLAMA)
ADAPTER = AdapterConfig(LLAMA, 3, 2)
SEEING = ImageAdapterConfig(LLAMA, 3, 2, image=VIT, image_embed=16, scales=2)
V2 = AdapterV2Config(LLAMA, VIT, 16, 3, 1, 3, 1, visual_width=32, visual_layers=1, visual_heads=4)
LORA = LoRAConfig(LLAMA)
ADAPTERS = (ADAPTER, SEEING, V2, LORA)
ALL = (LLAMA, T5, GPT2, VIT, TEXT, RESNET, CLIP, QFORMER, EVA, STAGE1, STAGE2, *ADAPTERS)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (LLAMA, {"layers": 10**9}, "layers=1000000000 is out of range in LLaMAConfig; 1 to 1,000"),
        (LLAMA, {"heads": 0}, "heads=0 is out of range"),
        (LLAMA, {"heads": 5}, "width 32 is not divisible by 5 heads"),
        (LLAMA, {"heads": 32}, "width 32 gives 32 heads of 1 channels"),
        (LLAMA, {"kv_heads": 3}, "4 heads cannot share kv_heads 3"),
        (LLAMA, {"kv_heads": 8}, "kv_heads=8 is out of range"),
        (LLAMA, {"norm_eps": math.nan}, "norm_eps=nan"),
        (LLAMA, {"norm_eps": 0.0}, "norm_eps=0"),
        (LLAMA, {"theta": -1.0}, "theta=-1"),
        (LLAMA, {"context": 0}, "context=0"),
        (LLAMA, {"vocab_size": -5}, "vocab_size=-5"),
        (LLAMA, {"width": "wide"}, "width='wide' is out of range"),
        (T5, {"decoder_layers": 0}, "decoder_layers=0"),
        (T5, {"start": 61}, "start=61 is out of range in Seq2SeqConfig; 0 to 60"),
        (T5, {"buckets": 2}, "buckets=2"),
        (T5, {"max_distance": 4}, "max_distance=4 is out of range in Seq2SeqConfig; 5 to"),
        (GPT2, {"changes": ("rotary",), "width": 12}, "an even number of channels, not 3"),
        (GPT2, {"changes": ("rmsnrom",)}, "knows the changes rmsnorm, swiglu, rotary"),
        (VIT, {"patch_size": 5}, "image_size 12 is not a multiple of patch_size 5"),
        (VIT, {"activation": "quick_gelus"}, "no activation 'quick_gelus'; did you mean"),
        (VIT, {"mlp_ratio": math.inf}, "mlp_ratio=inf"),
        (VIT, {"mlp_ratio": 0.001}, "mlp_hidden=0 is out of range"),
        (VIT, {"image_size": 16_384, "patch_size": 1}, "patches=268435456 is out of range"),
        (TEXT, {"heads": 3}, "width 32 is not divisible by 3 heads"),
        (RESNET, {"image_size": 48}, "image_size 48 is not a multiple of 32"),
        (RESNET, {"layers": (1, 0, 1, 1)}, r"layers \(1, 0, 1, 1\) are not four numbers"),
        (RESNET, {"width": 5}, "width 5 is odd"),
        (RESNET, {"heads": 3}, "width 128 is not divisible by 3 heads"),
        (CLIP, {"embed": -1}, "embed=-1 is out of range in CLIPConfig"),
        (ADAPTER, {"layers": 3}, "layers=3 is out of range: the LLaMA has 2 layers"),
        (ADAPTER, {"prompts": 0}, "prompts=0 is out of range in AdapterConfig"),
        (SEEING, {"scales": 3}, "scales=3: the image tower has 2 blocks"),
        (V2, {"visual_heads": 5}, "width 32 is not divisible by 5 heads"),
        (V2, {"early": 2}, "early=2 is out of range"),
        (LORA, {"rank": 0}, "rank=0 is out of range in LoRAConfig"),
    ],
)
def test_what_no_model_can_be_is_refused(config: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(VlcourseError, match=message) as refused:
        replace(config, **change)
    assert isinstance(refused.value, ValueError) and "\n" not in str(refused.value)


NUMBERS = st.one_of(
    st.integers(-2, 40), st.sampled_from([64, 10**9, -(10**30), math.nan, math.inf, 0.5, None, "x"])
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ALL), st.data())
def test_any_numbers_give_a_model_or_a_sentence(config: Any, data: st.DataObject) -> None:
    names = [f.name for f in fields(config) if type(getattr(config, f.name)) in (int, float)]
    changed = data.draw(st.dictionaries(st.sampled_from(names), NUMBERS, max_size=3))
    whole = {n: v for n, v in changed.items() if type(getattr(config, n)) is float or v != 0.5}
    try:
        made = replace(config, **{n: v for n, v in whole.items() if v is not None})
    except VlcourseError:
        return
    if isinstance(made, (ViTConfig, TextConfig)):
        made = replace(CLIP, **{"image" if isinstance(made, ViTConfig) else "text": made})
    if isinstance(made, ResNetConfig):
        made = replace(CLIP, image=made)
    if isinstance(made, QFormerConfig):
        made = replace(STAGE2, qformer=replace(made, image_width=32))
    if isinstance(made, EVAConfig):
        made = replace(STAGE1, image=replace(made, width=32, heads=4))
    assert sum(p.numel() for p in made.build().parameters()) > 0


def test_every_published_shape_is_in_range() -> None:
    assert all(replace(config) == config for config in CLIPS.values())
    assert LLaMAConfig.preset("65B").ffn == 22_016
