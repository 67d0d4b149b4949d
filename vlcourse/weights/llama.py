"""How others name LLaMA's weights and settings: transformers' layout and the official one.

The official code rotates neighbouring channels, as ours does; transformers rotates the two halves
of a head, and its query and key matrices have their rows in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vlcourse.models.llama import LLaMAConfig
from vlcourse.weights.rename import Rule, WeightsError, same
from vlcourse.weights.settings import HEADS, LAYERS, Settings

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_PARAMS = {
    "dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "multiple_of", "ffn_dim_multiplier",
    "norm_eps", "rope_theta", "use_scaled_rope", "rope_scaling_factor", "rope_high_freq_factor",
    "head_dim", "hidden_dim", "max_batch_size", "max_seq_len",
}  # fmt: skip
# (width, layers) of the published models with use_scaled_rope → how much slower their rotations are
# (their Hugging Face config.json says it): 3.2's 1B and 3B; 3.1's 8B, 70B and 405B.
_FACTORS = {(2048, 16): 32, (3072, 28): 32, (4096, 32): 8, (8192, 80): 8, (16384, 126): 8}


def hf_buffers(config: LLaMAConfig) -> list[str]:
    """What old transformers files hold beside the weights."""
    tied = [HEAD] if config.tied else []
    return tied + [f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(config.layers)]


def hf_table(config: LLaMAConfig) -> list[Rule]:
    """transformers' names."""
    block, layer = "blocks.*", "model.layers.*"
    head = config.channels
    return [
        Rule("token.weight", EMBEDDINGS),
        Rule(f"{block}.attention.q.*", f"{layer}.self_attn.q_proj.*", "halves", head),
        Rule(f"{block}.attention.k.*", f"{layer}.self_attn.k_proj.*", "halves", head),
        Rule(f"{block}.attention.v.*", f"{layer}.self_attn.v_proj.*"),
        Rule(f"{block}.attention.out.*", f"{layer}.self_attn.o_proj.*"),
        *(Rule(f"{block}.mlp.{p}.*", f"{layer}.mlp.{p}_proj.*") for p in ("gate", "up", "down")),
        Rule(f"{block}.norm1.*", f"{layer}.input_layernorm.*"),
        Rule(f"{block}.norm2.*", f"{layer}.post_attention_layernorm.*"),
        Rule("norm_final.*", "model.norm.*"),
        Rule("head.weight", HEAD),
    ]


def hf_copies(config: LLaMAConfig) -> tuple[str, ...]:
    """A head that is the embeddings again: stored as well, or in their place."""
    return (EMBEDDINGS, HEAD) if config.tied else ()


def official_buffers(config: LLaMAConfig) -> tuple[str, ...]:
    """What official files hold beside the weights: a table, and a head that is the embeddings."""
    return ("rope.freqs", *(("output.weight",) if config.tied else ()))


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


def config_from_hf(content: Mapping[str, Any], name: str = "this model") -> LLaMAConfig:
    """Our config from the content of a transformers config.json; what it leaves out is the 7B's.

    Raises:
        WeightsError: for settings that our LLaMA does not have, or values that cannot be.
    """
    settings = Settings(content, name)
    # Since transformers 5 all that concerns the rotation is in rope_parameters.
    rope = settings.part("rope_parameters" if "rope_parameters" in settings else "rope_scaling")
    for key, default in (("attention_bias", False), ("mlp_bias", False), ("hidden_act", "silu")):
        settings.need(key, default, default)
    for where in (settings, rope):
        where.need("partial_rotary_factor", 1.0, 1.0)
    theta = (rope if "rope_theta" in rope else settings).real("rope_theta", 1e4, 0.0, 1e30)
    context = settings.whole("max_position_embeddings", 2048)
    heads = settings.whole("num_attention_heads", 32, HEADS)
    return _config(
        name,
        vocab_size=settings.whole("vocab_size", 32_000),
        width=settings.whole("hidden_size", 4096),
        layers=settings.whole("num_hidden_layers", 32, LAYERS),
        heads=heads,
        kv_heads=settings.whole("num_key_value_heads", heads, HEADS),
        hidden=settings.whole("intermediate_size", 11008),
        norm_eps=settings.real("rms_norm_eps", 1e-6, 0.0, 1.0),
        theta=theta,
        context=context,
        head_width=settings.whole("head_dim", 0, HEADS, low=0),
        tied=settings.flag("tie_word_embeddings", False),
        **_scaling(rope, context),
    )


def _scaling(rope: Settings, context: int) -> dict[str, Any]:
    """How the rotations are slowed down for long texts, as settings of ours."""
    key = "rope_type" if "rope_type" in rope else "type"
    kind = rope.need(key, "default", "default", "linear", "llama3")
    if kind == "default":
        return {}
    factor = {"rope_factor": rope.real("factor", None, 0.0, 65_536.0)}
    if kind == "linear":
        return factor
    low = rope.real("low_freq_factor", None, 0.0, 65_536.0)
    return factor | {
        "rope_context": rope.whole("original_max_position_embeddings", context),
        "rope_low": low,
        "rope_high": rope.real("high_freq_factor", None, low, 65_536.0),
    }


def config_to_hf(config: LLaMAConfig) -> dict[str, Any]:
    """Our config as the content of a transformers config.json, of version 5 and of those before."""
    c, rope = config, dict[str, Any](rope_type="default")
    first = 128_000 if c.vocab_size == 128_256 else 1  # LLaMA 3's vocabulary, or the ones before
    if c.rope_factor != 1:
        rope = {"rope_type": "llama3" if c.rope_context else "linear", "factor": c.rope_factor}
    if c.rope_context:
        rope |= {
            "low_freq_factor": c.rope_low,
            "high_freq_factor": c.rope_high,
            "original_max_position_embeddings": c.rope_context,
        }
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
        "head_dim": c.channels,
        "rope_theta": c.theta,
        "rope_parameters": rope | {"rope_theta": c.theta},
        "rope_scaling": rope if c.rope_factor != 1 else None,
        "max_position_embeddings": c.context,
        "tie_word_embeddings": c.tied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": first,
        "eos_token_id": first + 1,
    }


def config_from_official(
    params: Mapping[str, Any], weights: Mapping[str, Tensor], context: int | None
) -> LLaMAConfig:
    """Our config from the content of a params.json; a vocabulary of -1 is read from the weights.

    Args:
        params: LLaMA's, or Mistral's, which adds head_dim and hidden_dim.
        weights: in which a head may be missing, which is then the embeddings.
        context: longest text; by default 131,072 with slowed rotations, else 2,048.

    Raises:
        KeyError: when a tensor that a size is read from is missing.
        WeightsError: for settings that our LLaMA does not have, or values that cannot be.
    """
    settings = Settings(params, "params.json")
    if unknown := sorted(set(params) - _PARAMS):
        said = ", ".join(unknown)
        raise WeightsError(f"params.json has settings that our LLaMA does not have: {said}")
    width, layers = settings.whole("dim", None), settings.whole("n_layers", None, LAYERS)
    heads = settings.whole("n_heads", None, HEADS)
    vocabulary = settings.whole("vocab_size", -1, low=-1)
    multiple = settings.whole("multiple_of", 256)
    hidden = int(settings.real("ffn_dim_multiplier", 1.0, 0.0, 1024.0) * (8 * width // 3))
    slow = {}
    if settings.flag("use_scaled_rope", False):
        factor = _FACTORS.get((width, layers))
        if factor is None and "rope_scaling_factor" not in settings:
            raise WeightsError(
                "params.json says use_scaled_rope but not how much, and the model has the size of "
                "none that is known: add rope_scaling_factor (8 in LLaMA 3.1, 32 in 3.2)"
            )
        slow = {
            "rope_factor": settings.real("rope_scaling_factor", factor, 0.0, 65_536.0),
            "rope_high": settings.real("rope_high_freq_factor", 4.0, 1.0, 65_536.0),
            "rope_context": 8192,
        }
    return _config(
        "params.json",
        vocab_size=vocabulary if vocabulary > 0 else _rows(weights),
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=settings.whole("n_kv_heads", heads, HEADS),
        hidden=settings.whole("hidden_dim", multiple * -(-hidden // multiple), 2**40),
        norm_eps=settings.real("norm_eps", 1e-5, 0.0, 1.0),
        theta=settings.real("rope_theta", 1e4, 0.0, 1e30),
        context=context or (131_072 if slow else 2048),
        head_width=settings.whole("head_dim", 0, HEADS, low=0),
        tied=_tied(weights),
        **slow,
    )


def _tied(weights: Mapping[str, Tensor]) -> bool:
    """Whether the head is not stored, or stored as the embeddings again."""
    head, embeddings = "output.weight", "tok_embeddings.weight"
    if head in weights and embeddings in weights:
        return same(weights[head], weights[embeddings])
    return embeddings in weights


def _rows(weights: Mapping[str, Tensor]) -> int:
    """The number of words, by the head or by the embeddings that are one with it."""
    name = "output.weight" if "output.weight" in weights else "tok_embeddings.weight"
    shape = tuple(getattr(weights[name], "shape", ()))
    if not shape or not shape[0]:
        raise WeightsError(f"{name} has the shape {shape}, not a row for each word")
    return int(shape[0])


def config_to_official(config: LLaMAConfig) -> dict[str, Any]:
    """Our config as the content of a params.json; settings that LLaMA-1 has not, only if needed.

    Raises:
        WeightsError: for rotations that no params.json can say.
    """
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
    if c.head_width:
        params["head_dim"] = c.head_width
    if c.rope_factor != 1:
        if (c.rope_context, c.rope_low) != (8192, 1.0):
            raise WeightsError(
                "the official code slows rotations as LLaMA 3.1 does (rope_context 8192, rope_low "
                f"1), not with {c.rope_context} and {c.rope_low}: use save_hf"
            )
        params |= {"use_scaled_rope": True, "rope_scaling_factor": c.rope_factor}
        params |= {"rope_high_freq_factor": c.rope_high}
    return params


def _config(name: str, **said: Any) -> LLaMAConfig:
    """A config in which what is as in the paper is left to the defaults."""
    width, heads, head = said["width"], said["heads"], said["head_width"]
    if (head or width / heads) % 2:
        size = f"{heads} heads of {head} channels" if head else f"width {width} in {heads} heads"
        raise WeightsError(f"{name} has {size}: each head needs an even number of channels")
    said["head_width"] = 0 if head == width / heads else head
    said["kv_heads"] = 0 if said["kv_heads"] == heads else said["kv_heads"]
    said["hidden"] = (
        0 if said["hidden"] == LLaMAConfig(width=width, heads=1).ffn else said["hidden"]
    )
    try:
        return LLaMAConfig(**said)
    except ValueError as error:  # out of our own ranges
        raise WeightsError(f"{name} has a shape that cannot be built: {error}") from None
