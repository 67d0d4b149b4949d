"""How others name BLIP-2's weights, tensor by tensor: transformers, and the files of LAVIS."""

from __future__ import annotations

from vlcourse.weights.blip_names import HF_TOWER, Tower, image_table, official_tower
from vlcourse.weights.rename import Rule

PREDICTIONS = "Qformer.cls.predictions"
LAVIS_TOKENS = "Qformer.bert.embeddings.word_embeddings.weight"
# Groups of LAVIS's names that are one tensor.
LAVIS_COPIES = (
    (LAVIS_TOKENS, f"{PREDICTIONS}.decoder.weight"),
    (f"{PREDICTIONS}.bias", f"{PREDICTIONS}.decoder.bias"),
)
LAVIS_BUFFERS = ("Qformer.bert.embeddings.position_ids",)
HF_BUFFERS = ("embeddings.position_ids",)  # in files of old versions


def eva_table(theirs: Tower) -> list[Rule]:
    """EVA's tower without its biases of queries and values."""
    rules = image_table("image", theirs)
    return [
        rule for rule in rules if "norm_final" not in rule.ours and not rule.ours.endswith("}.bias")
    ]


def hf_eva() -> list[Rule]:
    """transformers' tower: one vector of biases, of which the keys' third is 0 and does nothing;
    and the norm of the image tokens, which there is the tower's last."""
    return [
        *eva_table(HF_TOWER),
        Rule(
            "image.blocks.*.attention.{q,v}.bias",
            f"{HF_TOWER.block}.{HF_TOWER.qkv}.bias",
            "ends",
        ),
        Rule("norm_image.*", f"{HF_TOWER.last}.*"),
    ]


def lavis_eva() -> list[Rule]:
    """LAVIS's tower."""
    tower = official_tower()
    return [
        *eva_table(tower),
        Rule("image.blocks.*.attention.q.bias", f"{tower.block}.attn.q_bias"),
        Rule("image.blocks.*.attention.v.bias", f"{tower.block}.attn.v_bias"),
    ]


def qformer_blocks(ours: str, theirs: str, inner: str) -> list[Rule]:
    """The blocks of a Q-Former.

    Args:
        ours: what stands before "blocks".
        theirs: what stands before "layer".
        inner: what holds query, key and value: "attention" in transformers, "self" in LAVIS.
    """
    block, layer = f"{ours}blocks.*", f"{theirs}layer.*"
    rules = []
    for part, name in (("attention", "attention"), ("cross", "crossattention")):
        rules += [
            *(
                Rule(f"{block}.{part}.{p}.*", f"{layer}.{name}.{inner}.{word}.*")
                for p, word in (("q", "query"), ("k", "key"), ("v", "value"))
            ),
            Rule(f"{block}.{part}.out.*", f"{layer}.{name}.output.dense.*"),
            Rule(f"{block}.norm_{part}.*", f"{layer}.{name}.output.LayerNorm.*"),
        ]
    for side, end in (("text", ""), ("query", "_query")):
        rules += [
            Rule(f"{block}.mlp_{side}.up.*", f"{layer}.intermediate{end}.dense.*"),
            Rule(f"{block}.mlp_{side}.down.*", f"{layer}.output{end}.dense.*"),
            Rule(f"{block}.norm_{side}.*", f"{layer}.output{end}.LayerNorm.*"),
        ]
    return rules


def hf_qformer() -> list[Rule]:
    """transformers' names of a Q-Former within a model."""
    return [
        Rule("qformer.queries", "query_tokens", "lead", axes=1),
        Rule("qformer.norm.*", "qformer.layernorm.*"),
        Rule("qformer.words.token.weight", "embeddings.word_embeddings.weight"),
        Rule("qformer.words.positions", "embeddings.position_embeddings.weight"),
        *qformer_blocks("qformer.", "qformer.encoder.", "attention"),
    ]


def lavis_qformer() -> list[Rule]:
    """LAVIS's names of a Q-Former, and of the norm before it."""
    bert = "Qformer.bert"
    return [
        Rule("norm_image.*", "ln_vision.*"),
        Rule("qformer.queries", "query_tokens", "lead", axes=1),
        Rule("qformer.norm.*", f"{bert}.embeddings.LayerNorm.*"),
        Rule("qformer.words.token.weight", LAVIS_TOKENS),
        Rule("qformer.words.positions", f"{bert}.embeddings.position_embeddings.weight"),
        Rule("qformer.head.dense.*", f"{PREDICTIONS}.transform.dense.*"),
        Rule("qformer.head.norm.*", f"{PREDICTIONS}.transform.LayerNorm.*"),
        Rule("qformer.head.out.bias", f"{PREDICTIONS}.bias"),
        *qformer_blocks("qformer.", f"{bert}.encoder.", "self"),
    ]


def heads(image: str, text: str) -> list[Rule]:
    """What the first stage has on top; ``image`` and ``text`` are their projections' names."""
    return [
        Rule("image_projection.*", f"{image}.*"),
        Rule("text_projection.*", f"{text}.*"),
        Rule("itm_head.*", "itm_head.*"),
        Rule("temperature", "temp", "scalar"),
    ]
