"""What models tell when asked: the states of their blocks, and who looks at whom."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers.attention import Attention
from vlcourse.layers.block import MLP, Block
from vlcourse.layers.cache import KVCache
from vlcourse.layers.errors import ModelError
from vlcourse.layers.rotary import rotations
from vlcourse.layers.states import attention_weights, block_states
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.llama import LLaMABlock, LLaMAConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import DecoderBlock, EncoderBlock, Seq2SeqConfig, t5_attention
from vlcourse.models.vit import ViTConfig
from vlcourse.teach.llama.gpt2 import GPT2Block, GPT2Config

TEXT = TextConfig(61, 19, 32, 3, 4)
LLAMA = LLaMAConfig(61, 32, 3, 4, kv_heads=2)
T5 = Seq2SeqConfig(61, 32, 2, 3, 4, 8, 40)
TOKENS = torch.tensor([[1, 5, 7, 60], [2, 9, 60, 0], [3, 4, 8, 60]])
MASK = torch.tensor([[False, True, True, True], [True] * 4, [False, False, True, True]])


def build(config: Any) -> Any:
    torch.manual_seed(0)
    return config.build().eval()


@torch.no_grad()
def test_the_last_state_is_what_the_output_is_made_of() -> None:
    clip, pixels = (
        build(CLIPConfig(20, ViTConfig(15, 5, 24, 2, 3), TEXT)),
        torch.randn(3, 3, 15, 15),
    )
    first, last = clip.image.states(pixels)
    assert first.shape == last.shape == (3, 10, 24) and not torch.equal(first, last)
    assert torch.equal(clip.image.norm_post(last[:, 0]), clip.image(pixels)[0])
    states = clip.text.states(TOKENS)
    assert [state.shape for state in states] == [(3, 4, 32)] * 3
    assert torch.equal(clip.text.norm_final(states[-1]), clip.text(TOKENS)[1]["tokens"])
    for config in (LLAMA, GPT2Config(61, 32, 3, 4)):
        model = build(config)
        states = model.states(TOKENS, MASK)
        assert [state.shape for state in states] == [(3, 4, 32)] * 3
        assert torch.equal(model.head(model.norm_final(states[-1])), model(TOKENS, mask=MASK))


@torch.no_grad()
def test_stages_of_a_resnet() -> None:
    clip = build(CLIPConfig(20, ResNetConfig(64, (1, 2, 1, 2), 8, 4), TEXT))
    pixels = torch.randn(2, 3, 64, 64)
    states = clip.image.states(pixels)
    assert [state.shape[1:] for state in states] == [
        (32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2)
    ]  # fmt: skip
    embedding, out = clip.image(pixels)
    assert torch.equal(states[-1], out["grid"])
    assert torch.equal(clip.image.pool(states[-1]), embedding)
    assert torch.equal(clip.image.blocks[3](states[1]), states[2])


@torch.no_grad()
def test_encoder_and_decoder() -> None:
    model = build(T5)
    encoder, decoder = model.states(TOKENS, TOKENS[:, :3], MASK)
    assert [state.shape for state in encoder] == [(3, 4, 32)] * 2
    assert [state.shape for state in decoder] == [(3, 3, 32)] * 3
    assert torch.equal(model.encoder.norm_final(encoder[-1]), model.encode(TOKENS, MASK))
    logits = model.head(model.decoder.norm_final(decoder[-1]))
    assert torch.equal(logits, model(TOKENS, TOKENS[:, :3], MASK))


def test_nobody_listens_afterwards() -> None:
    model = build(LLAMA)

    def stop() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        block_states(model.blocks, stop)
    with pytest.raises(KeyError):
        attention_weights(model, stop)
    model.states(TOKENS)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("kind", ["none", "causal", "bool", "float", "rotary", "cross", "pair"])
def test_weights_times_values_is_what_attention_gives(kind: str) -> None:
    torch.manual_seed(0)
    attention = Attention(12, 6, kv_heads=2, scale=0.3 if kind == "cross" else None)
    x, other = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    seen = torch.rand(2, 1, 5, 5) < 0.5
    named: dict[str, Any] = {
        "none": {},
        "causal": {"causal": True},
        "bool": {"mask": seen | torch.eye(5, dtype=torch.bool)},
        "float": {"mask": torch.randn(1, 6, 5, 5)},
        "rotary": {"rotation": rotations(torch.arange(5), 2)},
        "cross": {"context": other},
        "pair": {"context": attention.keys_values(other)},
    }[kind]
    weights = attention.weights(x, **named)
    context = named.get("context", x)
    values = context[1] if kind == "pair" else attention.keys_values(context)[1]
    mixed = weights @ values.repeat_interleave(3, dim=1)  # (B, heads, L, head width)
    expected = attention.out(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, **named), expected)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6, 5))


@torch.no_grad()
def test_attention_of_a_whole_model_by_name() -> None:
    model = build(LLAMA)
    found = attention_weights(model, lambda: model(TOKENS, mask=MASK))
    assert list(found) == [f"blocks.{i}.attention" for i in range(3)]
    for weights in found.values():
        assert weights.shape == (3, 4, 4, 4)
        assert not weights.triu(1).any()  # nobody looks ahead
        assert not weights[2, :, 2:, :2].any() and weights[1, :, 3].all()  # nor at padding
    other = build(T5)
    found = attention_weights(other, lambda: other(TOKENS, TOKENS[:, :3]))
    assert found["decoder.blocks.2.cross"].shape == (3, 4, 3, 4)
    assert len(found) == 2 + 2 * 3
    cache: KVCache = model.new_cache(3, 4)
    with pytest.raises(ModelError, match="leave the cache out"):
        attention_weights(model, lambda: model(TOKENS, cache))


# ------------------------------------------------------------- a block takes its attention


class Gated(nn.Module):
    """An adapter around an attention: it adds a mean over the past, through a gate that is 0."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention, self.gate = attention, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, *inputs: Any, **named: Any) -> Tensor:
        past = x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        return self.attention(x, *inputs, **named) + self.gate.tanh() * past


def pairs() -> dict[str, Any]:
    """Kind of block → how it is built around an attention, that attention, and its inputs."""
    x, gpt2 = torch.randn(2, 5, 32), GPT2Config(61, 32, 1, 4)
    bias, rotation = torch.randn(1, 4, 5, 5), rotations(torch.arange(5), 8)
    return {
        "Block": (lambda a: Block(32, a, MLP(32, 48)), Attention(32, 4), (x, None, True)),
        "LLaMABlock": (
            lambda a: LLaMABlock(LLAMA, a),
            Attention(32, 4, kv_heads=2, bias=False),
            (x, rotation, None, True),
        ),
        "GPT2Block": (lambda a: GPT2Block(gpt2, a), Attention(32, 4), (x, None, None, True)),
        "EncoderBlock": (lambda a: EncoderBlock(T5, a), t5_attention(T5), (x, bias)),
        "DecoderBlock": (lambda a: DecoderBlock(T5, a), t5_attention(T5), (x, bias, x)),
    }


@pytest.mark.parametrize(
    "kind", ["Block", "LLaMABlock", "GPT2Block", "EncoderBlock", "DecoderBlock"]
)
def test_an_adapter_is_a_class_around_an_attention(kind: str) -> None:
    torch.manual_seed(0)
    make, attention, inputs = pairs()[kind]
    plain = make(attention)
    torch.manual_seed(1)
    gated = make(Gated(attention))
    for name, part in plain.named_children():  # the rest of the two blocks is the same
        if name != "attention":
            getattr(gated, name).load_state_dict(part.state_dict())
    assert torch.equal(gated(*inputs), plain(*inputs))  # bit for bit
    names = {name.replace("attention.attention.", "attention.") for name in gated.state_dict()}
    assert names == {*plain.state_dict(), "attention.gate"}
    F.mse_loss(gated(*inputs), torch.zeros(2, 5, 32)).backward()
    assert gated.attention.gate.grad.abs() > 1e-6  # it can be learned
    nn.init.ones_(gated.attention.gate)
    assert not torch.allclose(gated(*inputs), plain(*inputs), atol=1e-2)
