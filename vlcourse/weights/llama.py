"""How others name LLaMA's weights and settings: transformers' layout and the official one.

The official code rotates neighbouring channels, as ours does; transformers rotates the two halves
of a head, and its query and key matrices have their rows in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.models.llama import LLaMAConfig
from vlcourse.weights.rename import Rule, WeightsError

# Names that checkpoints may hold beside the weights.
OFFICIAL_BUFFERS = ("rope.freqs",)
_PARAMS = {
    "dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "multiple_of", "ffn_dim_multiplier",
    "norm_eps", "rope_theta", "use_scaled_rope", "max_batch_size", "max_seq_len",
}  # fmt: skip


def hf_buffers(config: LLaMAConfig) -> list[str]:
    """What old transformers files hold beside the weights."""
    return [f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(config.layers)]


def hf_table(config: LLaMAConfig) -> list[Rule]:
    """transformers' names."""
    block, layer = "blocks.*", "model.layers.*"
    head = config.width // config.heads
    return [
        Rule("token.weight", "model.embed_tokens.weight"),
        Rule(f"{block}.attention.q.*", f"{layer}.self_attn.q_proj.*", "halves", head),
        Rule(f"{block}.attention.k.*", f"{layer}.self_attn.k_proj.*", "halves", head),
        Rule(f"{block}.attention.v.*", f"{layer}.self_attn.v_proj.*"),
        Rule(f"{block}.attention.out.*", f"{layer}.self_attn.o_proj.*"),
        *(Rule(f"{block}.mlp.{p}.*", f"{layer}.mlp.{p}_proj.*") for p in ("gate", "up", "down")),
        Rule(f"{block}.norm1.*", f"{layer}.input_layernorm.*"),
        Rule(f"{block}.norm2.*", f"{layer}.post_attention_layernorm.*"),
        Rule("norm_final.*", "model.norm.*"),
        Rule("head.weight", "lm_head.weight"),
    ]


def untied(theirs: Mapping[str, Tensor], name: str) -> Mapping[str, Tensor]:
    """Weights whose head is tied to the embeddings (and not stored) with a head of their own.

    Raises:
        WeightsError: when a head is stored and is not the embeddings.
    """
    embeddings, head = "model.embed_tokens.weight", "lm_head.weight"
    if embeddings not in theirs:
        return theirs
    if head in theirs and not torch.equal(theirs[head], theirs[embeddings]):
        raise WeightsError(
            f"{head} of {name} is not {embeddings}, though its config says that they are tied"
        )
    return {**theirs, head: theirs[embeddings]}


def official_table() -> list[Rule]:
    """The names of the official code."""
    block, layer = "blocks.*", "layers.*"
    return [
        Rule("token.weight", "tok_embeddings.weight"),
        *(Rule(f"{block}.attention.{p}.*", f"{layer}.attention.w{p}.*") for p in "qkv"),
        Rule(f"{block}.attention.out.*", f"{layer}.attention.wo.*"),
        Rule(f"{block}.mlp.gate.*", f"{layer}.feed_forward.w1.*"),
        Rule(f"{block}.mlp.down.*", f"{layer}.feed_forward.w2.*"),
        Rule(f"{block}.mlp.up.*", f"{layer}.feed_forward.w3.*"),
        Rule(f"{block}.norm1.*", f"{layer}.attention_norm.*"),
        Rule(f"{block}.norm2.*", f"{layer}.ffn_norm.*"),
        Rule("norm_final.*", "norm.*"),
        Rule("head.weight", "output.weight"),
    ]


def config_from_hf(settings: Mapping[str, Any], name: str = "this model") -> LLaMAConfig:
    """Our config from the content of a transformers config.json; what it leaves out is the 7B's.

    Raises:
        WeightsError: for settings that our LLaMA does not have.
    """
    # Since transformers 5 all that concerns the rotation is in rope_parameters.
    before, rope = (settings.get(key) or {} for key in ("rope_scaling", "rope_parameters"))
    turned = rope.get("partial_rotary_factor") or settings.get("partial_rotary_factor") or 1.0
    width, heads = settings.get("hidden_size", 4096), settings.get("num_attention_heads", 32)
    for what, value, needed in (
        ("rotary scaling", _scaling(before), "default"),
        ("rotary scaling", _scaling(rope), "default"),
        ("partial_rotary_factor", turned, 1.0),
        ("head_dim", settings.get("head_dim") or width / heads, width / heads),
        ("attention_bias", settings.get("attention_bias") or False, False),
        ("mlp_bias", settings.get("mlp_bias") or False, False),
        ("hidden_act", settings.get("hidden_act", "silu"), "silu"),
    ):
        if value != needed:
            raise WeightsError(f"{name} has {what} {value}; our LLaMA is made for {needed} only")
    return _config(
        vocab_size=settings.get("vocab_size", 32_000),
        width=width,
        layers=settings.get("num_hidden_layers", 32),
        heads=heads,
        kv_heads=settings.get("num_key_value_heads"),
        hidden=settings.get("intermediate_size", 11008),
        norm_eps=settings.get("rms_norm_eps", 1e-6),
        theta=rope.get("rope_theta") or settings.get("rope_theta"),
        context=settings.get("max_position_embeddings", 2048),
    )


def _scaling(rope: Mapping[str, Any]) -> str:
    return rope.get("rope_type") or rope.get("type") or "default"


def config_to_hf(config: LLaMAConfig) -> dict[str, Any]:
    """Our config as the content of a transformers config.json, of version 5 and of those before."""
    c = config
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": c.vocab_size,
        "hidden_size": c.width,
        "intermediate_size": c.ffn,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads or c.heads,
        "hidden_act": "silu",
        "rms_norm_eps": c.norm_eps,
        "rope_theta": c.theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.theta},
        "max_position_embeddings": c.context,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def config_from_official(
    params: Mapping[str, Any], weights: Mapping[str, Tensor], context: int
) -> LLaMAConfig:
    """Our config from the content of a params.json; a vocabulary of -1 is read from the weights.

    Raises:
        KeyError: when a size or a tensor that it is read from is missing.
        WeightsError: for settings that our LLaMA does not have.
    """
    if unknown := sorted(set(params) - _PARAMS):
        said = ", ".join(unknown)
        raise WeightsError(f"params.json has settings that our LLaMA does not have: {said}")
    if params.get("use_scaled_rope"):
        raise WeightsError("params.json scales the rotary positions; our LLaMA does not")
    vocabulary, width = params.get("vocab_size", -1), params["dim"]
    hidden = int((params.get("ffn_dim_multiplier") or 1) * (8 * width // 3))
    multiple = params.get("multiple_of", 256)
    return _config(
        vocab_size=vocabulary if vocabulary > 0 else len(weights["output.weight"]),
        width=width,
        layers=params["n_layers"],
        heads=params["n_heads"],
        kv_heads=params.get("n_kv_heads"),
        hidden=multiple * -(-hidden // multiple),
        norm_eps=params.get("norm_eps", 1e-5),
        theta=params.get("rope_theta"),
        context=context,
    )


def config_to_official(config: LLaMAConfig) -> dict[str, Any]:
    """Our config as the content of a params.json; settings that LLaMA-1 has not, only if needed."""
    c, usual = config, LLaMAConfig(width=config.width, heads=1)
    params: dict[str, Any] = {
        "dim": c.width,
        "n_layers": c.layers,
        "n_heads": c.heads,
        "vocab_size": c.vocab_size,
        "multiple_of": 256 if c.ffn == usual.ffn else c.ffn,
        "norm_eps": c.norm_eps,
    }
    if c.ffn < 8 * c.width // 3:
        params["ffn_dim_multiplier"] = c.ffn / (8 * c.width // 3)
    if c.kv_heads not in (0, c.heads):
        params["n_kv_heads"] = c.kv_heads
    if c.theta != usual.theta:
        params["rope_theta"] = c.theta
    return params


def _config(
    *, width: int, heads: int, hidden: int, kv_heads: int | None, **others: Any
) -> LLaMAConfig:
    """A config in which what is as in the paper is left to the defaults."""
    if width % (2 * heads):
        raise WeightsError(f"width {width} is not {heads} heads of an even number of channels")
    if others["theta"] is None:
        del others["theta"]
    return LLaMAConfig(
        width=width,
        heads=heads,
        kv_heads=0 if kv_heads in (None, heads) else kv_heads,
        hidden=0 if hidden == LLaMAConfig(width=width, heads=1).ffn else hidden,
        **others,
    )


class Merged(Mapping[str, Tensor]):
    """The shards of a model-parallel checkpoint as one; each tensor is joined when asked for.

    Rows are divided between the shards in wq, wk, wv, w1, w3 and output, columns in wo, w2 and
    tok_embeddings (in LLaMA-3 its rows); each shard has all of the norms.

    Raises:
        WeightsError: when shards are missing or of different models.
    """

    def __init__(self, shards: Sequence[Mapping[str, Tensor]], name: str) -> None:
        self.shards = shards
        if any(shard.keys() != shards[0].keys() for shard in shards):
            raise WeightsError(f"the shards of {name} have different names: not of one model")
        if "layers.0.attention.wo.weight" in shards[0]:
            width, part = shards[0]["layers.0.attention.wo.weight"].shape
            if part * len(shards) != width:
                raise WeightsError(f"{name} has {len(shards)} shards, not all {width // part}")

    def __getitem__(self, name: str) -> Tensor:
        parts = [shard[name] for shard in self.shards]
        if len(parts) == 1 or parts[0].ndim < 2:
            return parts[0]
        columns = name.endswith(("wo.weight", "w2.weight"))
        if name == "tok_embeddings.weight":
            columns = parts[0].shape[1] != len(self.shards[0]["norm.weight"])
        return torch.cat(parts, dim=int(columns))

    def __contains__(self, name: object) -> bool:  # Mapping's own would join the tensor
        return name in self.shards[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shards[0])

    def __len__(self) -> int:
        return len(self.shards[0])
