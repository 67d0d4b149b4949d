"""Small BLIP-2s of every kind of tower, and batches for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.blip2_image import TowerConfig
from vlcourse.models.blip2_llm import BLIP2LLM, BLIP2LLMConfig, LLMConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.eva import EVAConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.models.transformers_llm import TransformersConfig
from vlcourse.models.vit import ViTConfig

CLS, SEP, DEC = 27, 28, 30
QFORMER = QFormerConfig(
    queries=5, vocab_size=31, context=12, width=12, layers=2, heads=3, image_width=12, cls=CLS,
    sep=SEP, dec=DEC,
)  # fmt: skip
TOWERS: dict[str, TowerConfig] = {
    "vit": ViTConfig(image_size=16, patch_size=8, width=12, layers=3, heads=3),
    "eva": EVAConfig(image_size=16, patch_size=8, width=12, layers=2, heads=3, mlp_ratio=1.5),
    "blip": BLIPViTConfig(image_size=16, patch_size=8, width=12, layers=2, heads=3),
    "grid": ResNetConfig(
        image_size=16, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1)
    ),
}


def config(tower: str = "vit", **changes: Any) -> BLIP2Config:
    """A BLIP-2 with one of the towers."""
    image = TOWERS[tower]
    qformer = replace(QFORMER, image_width=64 if tower == "grid" else 12)
    return BLIP2Config(**{"embed": 6, "image": image, "qformer": qformer} | changes)


def blip2(tower: str = "vit", seed: int = 0, **changes: Any) -> BLIP2:
    """One with random weights."""
    torch.manual_seed(seed)
    return BLIP2(config(tower, **changes))


def batch(n: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """Pictures of noise, and texts [CLS] w … [SEP] of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, CLS, (n, 7), generator=generator)
    tokens[:, 0] = CLS
    lengths = 4 + torch.arange(n) % 4
    tokens[torch.arange(n), lengths - 1] = SEP
    mask = torch.arange(7) < lengths[:, None]
    pixels = torch.randn(n, 3, 16, 16, generator=generator)
    return {"pixels": pixels, "tokens": tokens.masked_fill(~mask, 0), "mask": mask}


WORDS, START, END = 41, 1, 2
LLMS: dict[str, LLMConfig] = {
    "llama": LLaMAConfig(WORDS, 16, 2, 2, hidden=20, context=40),
    "seq2seq": Seq2SeqConfig(WORDS, 14, 2, 2, 2, 6, 20, buckets=8, max_distance=16),
    "opt": TransformersConfig.of(
        "opt", vocab_size=WORDS, hidden_size=18, word_embed_proj_dim=18, ffn_dim=24,
        num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=40, dropout=0.1,
    ),
    "hf-llama": TransformersConfig.of(
        "llama", vocab_size=WORDS, hidden_size=16, intermediate_size=20, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=40,
    ),
    "hf-t5": TransformersConfig.of(
        "t5", vocab_size=WORDS, d_model=14, d_kv=6, d_ff=20, num_layers=2, num_heads=2,
        relative_attention_num_buckets=8, relative_attention_max_distance=16,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
    ),
}  # fmt: skip


def writer(llm: str, tower: str = "vit", seed: int = 0, **changes: Any) -> BLIP2LLM:
    """A second stage with one of the language models; every weight is large enough to matter."""
    torch.manual_seed(seed)
    qformer = replace(QFORMER, text="none", image_width=64 if tower == "grid" else 12)
    model = BLIP2LLMConfig(
        image=TOWERS[tower], image_embed=6, qformer=qformer, llm=LLMS[llm], **changes
    ).build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def told(llm: str, n: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """A batch for the second stage: texts of different lengths; a prefix where there is one."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, WORDS, (n, 8), generator=generator)
    tokens[:, 0] = START
    lengths = 4 + torch.arange(n) % 4
    learned = (torch.arange(8) < lengths[:, None]) & (torch.arange(8) >= 2)  # a prompt of two
    targets = tokens.roll(-1, 1).masked_fill(~learned.roll(-1, 1), -100)
    targets[:, -1] = -100
    found = {
        "pixels": torch.randn(n, 3, 16, 16, generator=generator),
        "tokens": tokens,
        "targets": targets,
    }
    if llm in ("seq2seq", "hf-t5"):
        inputs = torch.randint(3, WORDS, (n, 5), generator=generator)
        found |= {"inputs": inputs, "inputs_mask": torch.arange(5) < (lengths - 2)[:, None]}
    return found
