"""How others name BLIP's weights, tensor by tensor: transformers, and the files of salesforce/BLIP.

The two agree on the text and differ in the image tower. Both hold the text reader and the text
writer apart, each whole, though all but their self-attentions is one in the model that was trained.
"""

from __future__ import annotations

from typing import NamedTuple

from vlcourse.models.blip import BLIPConfig
from vlcourse.models.blip_vqa import BLIPAnswererConfig
from vlcourse.weights.rename import Rule

TOKENS = "text_decoder.bert.embeddings.word_embeddings.weight"
HEAD = "text_decoder.cls.predictions.decoder.weight"
HEAD_BIAS = ("text_decoder.cls.predictions.bias", "text_decoder.cls.predictions.decoder.bias")
# What old files hold beside the weights.
POSITION_IDS = (
    "text_encoder.embeddings.position_ids", "text_decoder.bert.embeddings.position_ids",
)  # fmt: skip


class Tower(NamedTuple):
    """The names in a Vision Transformer."""

    first: str
    """The class token."""
    positions: str
    patch: str
    block: str
    qkv: str
    out: str
    norm: str
    """The norms of a block, without their number."""
    last: str
    """The norm after all blocks."""


HF_TOWER = Tower(
    "vision_model.embeddings.class_embedding",
    "vision_model.embeddings.position_embedding",
    "vision_model.embeddings.patch_embedding",
    "vision_model.encoder.layers.*",
    "self_attn.qkv",
    "self_attn.projection",
    "layer_norm",
    "vision_model.post_layernorm",
)


def official_tower(name: str = "visual_encoder") -> Tower:
    """timm's names, which salesforce/BLIP uses; ``name`` is what stands before them."""
    return Tower(
        f"{name}.cls_token", f"{name}.pos_embed", f"{name}.patch_embed.proj", f"{name}.blocks.*",
        "attn.qkv", "attn.proj", "norm", f"{name}.norm",
    )  # fmt: skip


def image_table(ours: str, theirs: Tower) -> list[Rule]:
    """The image tower: ours is called ``ours``."""
    block, layer = f"{ours}.blocks.*", theirs.block
    return [
        Rule(f"{ours}.class_token", theirs.first, "lead", axes=2),  # (1, 1, D) there
        Rule(f"{ours}.positions", theirs.positions, "lead", axes=1),  # (1, 1 + patches, D)
        Rule(f"{ours}.patch.*", f"{theirs.patch}.*"),
        Rule(f"{block}.attention.{{q,k,v}}.weight", f"{layer}.{theirs.qkv}.weight", "rows"),
        Rule(f"{block}.attention.{{q,k,v}}.bias", f"{layer}.{theirs.qkv}.bias", "rows"),
        Rule(f"{block}.attention.out.*", f"{layer}.{theirs.out}.*"),
        Rule(f"{block}.norm1.*", f"{layer}.{theirs.norm}1.*"),
        Rule(f"{block}.norm2.*", f"{layer}.{theirs.norm}2.*"),
        Rule(f"{block}.mlp.up.*", f"{layer}.mlp.fc1.*"),
        Rule(f"{block}.mlp.down.*", f"{layer}.mlp.fc2.*"),
        Rule(f"{ours}.norm_final.*", f"{theirs.last}.*"),
    ]


def role_table(role: str, embedding: str, theirs: str, ours: str = "text") -> list[Rule]:
    """One role of the MED ``ours``, with its embedding: a whole BERT there."""
    block, layer = f"{ours}.blocks.*.{role}", f"{theirs}.encoder.layer.*"
    rules = [
        Rule(f"{ours}.{embedding}.token.weight", f"{theirs}.embeddings.word_embeddings.weight"),
        Rule(f"{ours}.{embedding}.positions", f"{theirs}.embeddings.position_embeddings.weight"),
        Rule(f"{ours}.{embedding}.norm.*", f"{theirs}.embeddings.LayerNorm.*"),
        Rule(f"{block}.mlp.up.*", f"{layer}.intermediate.dense.*"),
        Rule(f"{block}.mlp.down.*", f"{layer}.output.dense.*"),
        Rule(f"{block}.norm_mlp.*", f"{layer}.output.LayerNorm.*"),
    ]
    for part, name in (("attention", "attention"), ("cross", "crossattention")):
        rules += [
            Rule(f"{block}.{part}.{p}.*", f"{layer}.{name}.self.{word}.*")
            for p, word in (("q", "query"), ("k", "key"), ("v", "value"))
        ]
        rules += [
            Rule(f"{block}.{part}.out.*", f"{layer}.{name}.output.dense.*"),
            Rule(f"{block}.norm_{part}.*", f"{layer}.{name}.output.LayerNorm.*"),
        ]
    return rules


def text_table(config: BLIPConfig | BLIPAnswererConfig) -> list[Rule]:
    """All but the image tower. The temperature and the steps have their official names."""
    rules: list[Rule] = []
    if config.text.reads:
        rules += role_table("reader", "reading", "text_encoder")
    if config.text.writes:
        head = "text_decoder.cls.predictions"
        rules += [
            *role_table("writer", "writing", "text_decoder.bert"),
            Rule("text.head.dense.*", f"{head}.transform.dense.*"),
            Rule("text.head.norm.*", f"{head}.transform.LayerNorm.*"),
            Rule("text.head.out.weight", HEAD),
            Rule("text.head.out.bias", HEAD_BIAS[0]),
        ]
    if isinstance(config, BLIPAnswererConfig):
        return rules
    if config.text.reads:
        rules += [
            Rule("image_projection.*", "vision_proj.*"),
            Rule("text_projection.*", "text_proj.*"),
            Rule("itm_head.*", "itm_head.*"),
            Rule("temperature", "temp", "scalar"),
        ]
    return [*rules, Rule("steps", "steps")]
