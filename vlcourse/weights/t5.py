"""How transformers names T5's weights and settings: a rename table, and our config from theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.weights.rename import Rule, WeightsError
from vlcourse.weights.settings import HEADS, LAYERS, Settings

# T5 1.0's files hold a bias for the cross-attention, which no implementation ever read.
UNREAD = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"


def hf_table(config: Seq2SeqConfig) -> list[Rule]:
    """transformers' names. A block there is a list of two or three layers."""
    rules = [
        Rule("token.weight", "shared.weight"),
        Rule("head.weight", "lm_head.weight"),
    ]
    mlp = {"gate": "wi_0", "up": "wi_1"} if config.gated else {"up": "wi"}
    for stack, last in (("encoder", 1), ("decoder", 2)):
        block, layer = f"{stack}.blocks.*", f"{stack}.block.*.layer"
        first = f"{stack}.block.0.layer.0.SelfAttention"  # the bias lives in the first block there
        rules += [
            Rule(f"{stack}.bias.weight", f"{first}.relative_attention_bias.weight"),
            *_attention(f"{block}.attention", f"{layer}.0.SelfAttention"),
            Rule(f"{block}.norm1.weight", f"{layer}.0.layer_norm.weight"),
            Rule(f"{block}.norm2.weight", f"{layer}.{last}.layer_norm.weight"),
            *(
                Rule(f"{block}.mlp.{ours}.weight", f"{layer}.{last}.DenseReluDense.{theirs}.weight")
                for ours, theirs in {**mlp, "down": "wo"}.items()
            ),
            Rule(f"{stack}.norm_final.weight", f"{stack}.final_layer_norm.weight"),
        ]
    return [
        *rules,
        *_attention("decoder.blocks.*.cross", "decoder.block.*.layer.1.EncDecAttention"),
        Rule("decoder.blocks.*.norm_cross.weight", "decoder.block.*.layer.1.layer_norm.weight"),
    ]


def _attention(ours: str, theirs: str) -> list[Rule]:
    names = {"q": "q", "k": "k", "v": "v", "out": "o"}
    return [Rule(f"{ours}.{a}.weight", f"{theirs}.{b}.weight") for a, b in names.items()]


def hf_copies(config: Seq2SeqConfig) -> tuple[str, ...]:
    """The token vectors, and their copies: one in a model, sometimes stored again in a file."""
    head = ("lm_head.weight",) if config.tied else ()
    return ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", *head)


def hf_buffers(config: Seq2SeqConfig) -> tuple[str, ...]:
    """Names that a checkpoint may hold beside the weights: copies, and what is never read."""
    return (*hf_copies(config)[1:], UNREAD)


def config_to_hf(config: Seq2SeqConfig) -> dict[str, Any]:
    """Our config as the content of a transformers config.json."""
    c = config
    return {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": True,
        "vocab_size": c.vocab_size,
        "d_model": c.width,
        "d_kv": c.head_width,
        "d_ff": c.hidden,
        "num_heads": c.heads,
        "num_layers": c.encoder_layers,
        "num_decoder_layers": c.decoder_layers,
        "feed_forward_proj": "gated-gelu" if c.gated else "relu",
        "relative_attention_num_buckets": c.buckets,
        "relative_attention_max_distance": c.max_distance,
        "layer_norm_epsilon": c.norm_eps,
        "tie_word_embeddings": c.tied,
        "decoder_start_token_id": c.start,
        "pad_token_id": c.start,
        "eos_token_id": 1,
    }


def config_from_hf(content: Mapping[str, Any], name: str = "this model") -> Seq2SeqConfig:
    """Our config from the content of a transformers config.json; what it leaves out is t5-small's.

    Raises:
        WeightsError: for another kind of model, settings that our model does not have, or values
            that cannot be.
    """
    settings = Settings(content, name)
    if (kind := settings.get("model_type", "unknown")) != "t5":
        raise WeightsError(f"{name} is of the type {kind!r}; this layout is T5's ('t5')")
    if not settings.flag("is_encoder_decoder", True):
        raise WeightsError(f"{name} is an encoder or a decoder alone; our model has both")
    mlp = settings.need("feed_forward_proj", "relu", "relu", "gated-gelu")
    layers = settings.whole("num_layers", 6, LAYERS)
    vocabulary = settings.whole("vocab_size", 32_128)
    pad = settings.whole("pad_token_id", 0, vocabulary - 1, low=0)
    # transformers 5 says that all heads are tied, and keeps what was said in the second name.
    tied = settings.flag("tie_word_embeddings", True)
    return Seq2SeqConfig(
        vocab_size=vocabulary,
        width=settings.whole("d_model", 512),
        encoder_layers=layers,
        decoder_layers=settings.whole("num_decoder_layers", layers, LAYERS),
        heads=settings.whole("num_heads", 8, HEADS),
        head_width=settings.whole("d_kv", 64, HEADS),
        hidden=settings.whole("d_ff", 2048),
        gated=mlp == "gated-gelu",
        tied=tied and settings.flag("scale_decoder_outputs", True),
        buckets=settings.whole("relative_attention_num_buckets", 32, low=4),
        max_distance=settings.whole("relative_attention_max_distance", 128),
        norm_eps=settings.real("layer_norm_epsilon", 1e-6, 0.0, 1.0),
        start=settings.whole("decoder_start_token_id", pad, vocabulary - 1, low=0),
    )
