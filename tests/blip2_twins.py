"""Tiny random BLIP-2s of transformers, of odd sizes, for the tests of weights."""

from __future__ import annotations

import re
from typing import Any

import torch
from blip_twins import randomise, transformers
from torch import Tensor

VOCAB, QUERIES, SIZE, IMAGE = 61, 5, 30, 66  # IMAGE: the id that stands for a query
WORDS = 67  # of the language models
LLMS: dict[str, Any] = {
    "opt": dict(
        vocab_size=WORDS, hidden_size=18, word_embed_proj_dim=18, ffn_dim=26, num_hidden_layers=2,
        num_attention_heads=3, max_position_embeddings=40, bos_token_id=2, eos_token_id=2,
        pad_token_id=1, dropout=0.0,
    ),
    "t5": dict(
        vocab_size=WORDS, d_model=22, d_kv=6, d_ff=20, num_layers=2, num_heads=3,
        relative_attention_num_buckets=8, relative_attention_max_distance=16,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=1,
    ),
    "llama": dict(
        vocab_size=WORDS, hidden_size=18, intermediate_size=26, num_hidden_layers=2,
        num_attention_heads=3, max_position_embeddings=40, pad_token_id=0,
    ),
    "gpt_neox": dict(
        vocab_size=WORDS, hidden_size=24, intermediate_size=26, num_hidden_layers=2,
        num_attention_heads=3, max_position_embeddings=40, rotary_pct=1.0,
    ),
}  # fmt: skip


def qformer_config(text: bool, **changes: Any) -> Any:
    """Width 24 in 3 heads, 3 blocks, of which 2 look."""
    said = dict(
        vocab_size=VOCAB, hidden_size=24, num_hidden_layers=3, num_attention_heads=3,
        intermediate_size=50, max_position_embeddings=23, cross_attention_frequency=2,
        encoder_hidden_size=20, use_qformer_text_input=text, layer_norm_eps=1e-6,
    )  # fmt: skip
    return transformers.Blip2QFormerConfig(**(said | changes))


def hf_config(text: bool, llm: str = "opt", **changes: Any) -> Any:
    """30 px in patches of 6; no size is another's."""
    image = transformers.Blip2VisionConfig(
        hidden_size=20, intermediate_size=44, num_hidden_layers=3, num_attention_heads=2,
        image_size=SIZE, patch_size=6,
    )  # fmt: skip
    return transformers.Blip2Config(
        vision_config=image, qformer_config=qformer_config(text),
        text_config=transformers.AutoConfig.for_model(llm, **LLMS[llm]),
        num_query_tokens=QUERIES, image_text_hidden_size=10, **changes,
    )  # fmt: skip


def hf_retrieval(seed: int = 0) -> Any:
    """Their first stage; every parameter random, so that each of them matters."""
    return randomise(transformers.Blip2ForImageTextRetrieval(hf_config(True)), seed)


def hf_writer(llm: str, seed: int = 0) -> Any:
    """Their second stage."""
    config = hf_config(False, llm, image_token_index=IMAGE)
    return randomise(transformers.Blip2ForConditionalGeneration(config), seed, std=0.2)


def with_images(tokens: Tensor) -> Tensor:
    """Ids with the places of the queries before them, as transformers wants it."""
    places = torch.full((len(tokens), QUERIES), IMAGE)
    return torch.cat([places, tokens], dim=1)


def to_lavis(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' names of a first stage → LAVIS's, written down once more, by hand."""
    names = (
        (r"^vision_model\.post_layernorm", "ln_vision"),
        (r"^vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
        (r"^vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
        (r"^vision_model\.embeddings\.patch_embedding", "visual_encoder.patch_embed.proj"),
        (r"^vision_model\.encoder\.layers", "visual_encoder.blocks"),
        (r"\.self_attn\.projection\.", ".attn.proj."),
        (r"\.self_attn\.", ".attn."),
        (r"\.layer_norm([12])\.", r".norm\1."),
        (r"^vision_projection", "vision_proj"),
        (r"^text_projection", "text_proj"),
        (r"^embeddings\.", "Qformer.bert.embeddings."),
        (r"^qformer\.layernorm", "Qformer.bert.embeddings.LayerNorm"),
        (r"^qformer\.encoder", "Qformer.bert.encoder"),
        (r"attention\.attention\.", "attention.self."),
    )
    renamed: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        for old, new in names:
            name = re.sub(old, new, name)
        if name.endswith("attn.qkv.bias"):
            q, _, v = tensor.chunk(3)
            renamed[name.replace("qkv.bias", "q_bias")] = q.clone()
            renamed[name.replace("qkv.bias", "v_bias")] = v.clone()
        else:
            renamed[name] = tensor.clone()
    return renamed
