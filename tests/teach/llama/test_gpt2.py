"""GPT-2 and its variants: parity at both ends, the cache, padding, equal sizes."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from vlcourse import VlcourseError
from vlcourse.generate import generate, left_pad
from vlcourse.models.llama import LLaMAConfig
from vlcourse.teach.llama.gpt2 import CHANGES, GPT2, GPT2Config

VARIANTS = [names for n in range(4) for names in combinations(CHANGES, n)]


def made(changes: tuple[str, ...] = (), hidden: int = 29) -> GPT2:
    """A tiny model in which every parameter, also a bias, says something."""
    torch.manual_seed(0)
    config = GPT2Config(37, 12, 3, 2, hidden, context=23, changes=changes)
    model = config.build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def tokens(rows: int = 2, length: int = 17) -> Tensor:
    return torch.randint(37, (rows, length), generator=torch.Generator().manual_seed(1))


def theirs(model: GPT2) -> GPT2LMHeadModel:
    """transformers' GPT-2 with our weights: its q, k and v are one matrix, stored transposed."""
    c = model.config
    config = TheirConfig(
        vocab_size=c.vocab_size, n_positions=c.context, n_embd=c.width, n_layer=c.layers,
        n_head=c.heads, n_inner=c.ffn, activation_function="gelu", layer_norm_epsilon=c.norm_eps,
    )  # fmt: skip
    ours = model.state_dict()
    names = {"ln_1": "norm1", "ln_2": "norm2", "mlp.c_fc": "mlp.up", "mlp.c_proj": "mlp.down",
             "attn.c_proj": "attention.out"}  # fmt: skip
    new = {
        "transformer.wte.weight": ours["token.weight"],
        "transformer.wpe.weight": ours["position.weight"],
        "transformer.ln_f.weight": ours["norm_final.weight"],
        "transformer.ln_f.bias": ours["norm_final.bias"],
        "lm_head.weight": ours["token.weight"],
    }
    for i in range(c.layers):
        for end in ("weight", "bias"):
            block = f"transformer.h.{i}."
            qkv = torch.cat([ours[f"blocks.{i}.attention.{part}.{end}"] for part in "qkv"])
            values = {"attn.c_attn": qkv}
            values |= {name: ours[f"blocks.{i}.{own}.{end}"] for name, own in names.items()}
            for name, value in values.items():
                new[f"{block}{name}.{end}"] = value.T if value.ndim == 2 else value
    other = GPT2LMHeadModel(config).eval()
    other.load_state_dict(new)
    return other


@torch.no_grad()
def test_unchanged_it_is_gpt2() -> None:
    model = made()
    expected = theirs(model)(tokens()).logits
    torch.testing.assert_close(model(tokens()), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_with_padding_on_the_left_it_is_gpt2() -> None:
    model, mask = made(), torch.ones(2, 17, dtype=torch.bool)
    mask[0, :5] = False
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    other = theirs(model)
    expected = other(tokens(), attention_mask=mask.long(), position_ids=positions).logits
    torch.testing.assert_close(model(tokens(), mask=mask)[mask], expected[mask], atol=1e-5, rtol=0)


@torch.no_grad()
def test_with_all_changes_it_is_llama() -> None:
    model = made(CHANGES)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    c = model.config
    llama = LLaMAConfig(
        c.vocab_size, c.width, c.layers, c.heads, hidden=c.hidden, norm_eps=c.norm_eps
    ).build()
    weights = {k: v for k, v in model.state_dict().items() if not k.endswith("bias")}
    llama.load_state_dict(weights)
    torch.testing.assert_close(model(tokens()), llama(tokens()), atol=1e-5, rtol=1e-5)
    batch = {"tokens": tokens(), "targets": tokens().roll(-1, 1)}
    assert model.losses(batch)["lm"] == pytest.approx(float(llama.losses(batch)["lm"]), abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("changes", VARIANTS, ids="+".join)
def test_variants(changes: tuple[str, ...]) -> None:
    """Each changes what it names, sees only the past, and is the same with a cache."""
    model = made(changes)
    norms = {type(m) for m in model.modules() if "Norm" in type(m).__name__}
    assert len(norms) == 1 and (nn.LayerNorm in norms) == ("rmsnorm" not in changes)
    names = [name for name, _ in model.named_parameters()]
    assert any("mlp.gate" in name for name in names) == ("swiglu" in changes)
    assert any(name.startswith("position") for name in names) == ("rotary" not in changes)
    whole = model(tokens())
    later = tokens()
    later[:, 9:] = (later[:, 9:] + 1) % 37
    torch.testing.assert_close(model(later)[:, :9], whole[:, :9], atol=1e-6, rtol=1e-5)
    assert (model(later)[:, 9:] - whole[:, 9:]).abs().max() > 0.1
    cache = model.new_cache(2, 17)
    parts = [model(part, cache) for part in tokens().split((7, 1, 9), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)
    order = tokens()[:, [1, 0, *range(2, 17)]]
    assert (model(order)[:, -1] - whole[:, -1]).abs().max() > 1e-3  # it knows positions


def test_a_fresh_model_is_unsure_of_everything() -> None:
    torch.manual_seed(0)
    for changes in ((), CHANGES):
        model = GPT2Config(512, 64, 4, 4, context=32, changes=changes).build()
        batch = {"tokens": tokens(4, 32), "targets": tokens(4, 32).roll(-1, 1)}
        loss = model.losses(batch)["lm"]
        assert abs(loss.item() - torch.tensor(512.0).log()) < 0.2
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                assert not parameter.any()
        scale = model.token.weight.std().item()
        assert scale == pytest.approx(0.02 * (768 / 64) ** 0.5, rel=0.05)


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="rmsnorm, swiglu, rotary, not .*'silu'"):
        GPT2Config(changes=("silu",))
    with pytest.raises(ValueError, match="24 tokens are too long for 23 positions"):
        made()(tokens(1, 24))
    model, cache = made(), made().new_cache(1, 30)
    model(tokens(1, 20), cache)
    with pytest.raises(ValueError, match="25 tokens"):
        model(tokens(1, 5), cache)
    made(("rotary",))(tokens(1, 24))  # has no longest text


def test_sizes() -> None:
    """The published count of GPT-2, and hidden sizes that keep it."""
    with torch.device("meta"):
        assert sum(p.numel() for p in GPT2Config().build().parameters()) == 124_439_808
    assert GPT2Config(width=96).ffn == 384
    assert GPT2Config(width=96, changes=("swiglu",)).ffn == 256


@pytest.mark.parametrize("changes", [(), ("rotary",), CHANGES])
def test_it_writes_what_reading_everything_again_gives(changes: tuple[str, ...]) -> None:
    model = made(changes)
    rows, mask = left_pad([[3, 1, 4, 1, 5], [9, 2]])
    for use_cache in (True, False):
        found = generate(model, rows, mask=mask, max_new_tokens=8, use_cache=use_cache)
        for prompt, written in zip(([3, 1, 4, 1, 5], [9, 2]), found.tolist(), strict=True):
            whole = torch.tensor([prompt + written])
            best = model(whole).argmax(dim=-1)[0].tolist()
            assert written == best[len(prompt) - 1 : -1]


def test_it_writes_up_to_its_last_learned_position() -> None:
    prompt = tokens(1, 20)
    assert generate(made(), prompt, max_new_tokens=4).shape == (1, 4)  # the last one is not read
    with pytest.raises(VlcourseError, match="need 24 positions, but only 23 were learned"):
        generate(made(), prompt, max_new_tokens=5)
    assert generate(made(("rotary",)), prompt, max_new_tokens=9).shape == (1, 9)
