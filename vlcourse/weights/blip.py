"""How others name BLIP's weights: transformers' three models, and the files of salesforce/BLIP.

The two agree on the text and differ in the image tower. Both hold the text reader and the text
writer apart, each whole, though all but their self-attentions is one in the model that was trained.
"""

from __future__ import annotations

from typing import NamedTuple

from vlcourse.weights.rename import Rule


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


def role_table(ours: str, role: str, embedding: str, theirs: str) -> list[Rule]:
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


def reader_table(ours: str = "med", theirs: str = "text_encoder") -> list[Rule]:
    """What reads: :func:`role_table` of their text encoder."""
    return role_table(ours, "reader", "reading", theirs)


HEAD_BIAS = ("text_decoder.cls.predictions.bias", "text_decoder.cls.predictions.decoder.bias")


def writer_table() -> list[Rule]:
    """What writes: :func:`role_table` of their text decoder, and its head."""
    head = "text_decoder.cls.predictions"
    return [
        *role_table("med", "writer", "writing", "text_decoder.bert"),
        Rule("med.head.dense.*", f"{head}.transform.dense.*"),
        Rule("med.head.norm.*", f"{head}.transform.LayerNorm.*"),
        Rule("med.head.out.weight", f"{head}.decoder.weight"),
        Rule("med.head.out.bias", HEAD_BIAS[0]),
    ]
