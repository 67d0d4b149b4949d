"""LLaMA-Adapter: nothing at first, gates first, and what the paper's equations say."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_adapters import LLAMA, WORDS, adapter, batch, image_adapter, lora, loud, text, v2

from vlcourse.engine.recompute import recompute_blocks
from vlcourse.generate import Options, generate, left_pad, search, stream
from vlcourse.layers.errors import ModelError
from vlcourse.layers.rotary import rotations
from vlcourse.models.adapter import AdapterConfig
from vlcourse.models.llama import LLaMAConfig

KINDS = ("tanh", "linear")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_at_gate_zero_the_output_is_the_base_models_bit_for_bit(
    kind: str, dtype: torch.dtype
) -> None:
    model, tokens = adapter(gate=kind), text()
    model.llm.to(dtype)
    assert torch.equal(model(tokens), model.llm(tokens))
    mask = torch.arange(9) >= torch.tensor([0, 2, 5])[:, None]
    assert torch.equal(model(tokens, mask=mask), model.llm(tokens, mask=mask))


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_first_step_only_the_gates_have_a_gradient(kind: str) -> None:
    model = adapter(gate=kind)
    model.train()
    model.losses(batch())["lm"].backward()
    for name, parameter in model.named_parameters():
        if name.endswith("gate.value"):
            assert (parameter.grad.abs() > 1e-7).all(), name
        else:
            assert parameter.grad is None or not parameter.grad.any(), name
            assert parameter.requires_grad == name.startswith("layers."), name
    assert not any(part.training for part in model.llm.modules())


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_prompts_have_a_softmax_of_their_own(kind: str) -> None:
    model, tokens = loud(adapter(gate=kind, layers=1, llm=replace(LLAMA, layers=1))), text(2, 5)
    block, layer = model.llm.blocks[0], model.layers[0]
    x = block.norm1(model.llm.token(tokens))
    rotation = rotations(torch.arange(5), 6)
    own = block.attention
    q, k, v = own.read(x, rotation=rotation)
    told = layer.prompts[None]
    keys, values = own.keys_values(told)
    k, v, keys, values = (t.repeat_interleave(3, dim=1) for t in (k, v, keys, values))
    scores = (q @ k.mT * 6**-0.5).masked_fill(~torch.ones(5, 5).tril().bool(), -torch.inf)
    over_text, over_prompts = scores.softmax(-1), (q @ keys.mT * 6**-0.5).softmax(-1)
    gate = layer.gate.value.tanh() if kind == "tanh" else layer.gate.value.expand(6)
    mixed = over_text @ v + gate[:, None, None] * (over_prompts @ values)
    x = model.llm.token(tokens) + own.out(mixed.transpose(1, 2).flatten(2))
    expected = model.llm.head(model.llm.norm_final(x + block.mlp(block.norm2(x))))
    torch.testing.assert_close(model(tokens), expected)
    assert not torch.allclose(model(tokens), model.llm(tokens), atol=0.1)


@torch.no_grad()
def test_padding_changes_nothing() -> None:
    model = loud(adapter()).eval()
    tokens, mask = left_pad([[3, 4, 5, 6, 7], [8, 9], [10]], pad=0)
    together = model(tokens, mask=mask)
    for row, length in enumerate((5, 2, 1)):
        alone = model(tokens[row : row + 1, -length:])
        torch.testing.assert_close(together[row, -length:], alone[0], atol=1e-4, rtol=1e-4)


def test_generation_with_the_cache_is_generation_without() -> None:
    model = loud(adapter()).eval()
    tokens, mask = left_pad([[3, 4, 5, 6, 7], [8, 9], [10]], pad=0)
    written = [
        generate(model, tokens, mask=mask, max_new_tokens=7, use_cache=cache)
        for cache in (True, False)
    ]
    assert torch.equal(*written)
    assert not torch.equal(written[0], generate(model.llm, tokens, mask=mask, max_new_tokens=7))
    streamed = torch.stack([*stream(model, tokens, mask=mask, max_new_tokens=7)], dim=1)
    assert torch.equal(streamed, written[0])
    beams = [
        search(model, tokens, Options(7, beams=3), mask=mask, use_cache=cache).tokens
        for cache in (True, False)
    ]
    assert torch.equal(*beams)


@torch.no_grad()
def test_two_adapters_around_one_llama_are_switched_and_removed() -> None:
    one, two, tokens = loud(adapter()), loud(adapter(seed=5, prompts=3)), text()
    two.llm = one.llm
    base, first, second = one.llm(tokens), one(tokens), two(tokens)
    assert not torch.allclose(first, second, atol=1e-2)
    assert torch.equal(one(tokens), first) and torch.equal(one.llm(tokens), base)


@torch.no_grad()
@pytest.mark.parametrize("width", [30, 42])
def test_half_precision_odd_widths_and_grouped_heads(width: int) -> None:
    llm = replace(LLAMA, width=width, heads=3, kv_heads=1, hidden=23)
    model, tokens = loud(adapter(llm=llm)), text()
    whole = model(tokens).log_softmax(-1)
    model.llm.bfloat16()
    assert model(tokens).dtype == torch.bfloat16
    torch.testing.assert_close(model(tokens).float().log_softmax(-1), whole, atol=0.35, rtol=0.1)
    model.bfloat16()
    assert model(tokens).isfinite().all()
    model.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(tokens).isfinite().all()


def test_gradients_in_half_precision_reach_prompts_and_gates() -> None:
    model = loud(adapter())
    model.llm.bfloat16()
    model.losses(batch())["lm"].backward()
    for name, parameter in model.layers.named_parameters():
        assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0, name


def test_images_are_refused_in_words() -> None:
    with pytest.raises(ModelError, match="reads text only"):
        adapter()(text(), pixels=torch.zeros(3, 3, 8, 8))


def test_the_seven_billion_one_has_the_papers_size() -> None:
    with torch.device("meta"):
        model = AdapterConfig.preset("7B").build()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 1_229_760  # 30 · 10 · 4096 + 30 · 32; the paper says 1.2 M
    assert sum(p.numel() for p in model.llm.parameters()) == 6_738_415_616
    assert model.config.llm == LLaMAConfig.preset("7B")
    assert model.vocab_size == 32_000 != WORDS
    with pytest.raises(ModelError, match="did you mean '7B'"):
        AdapterConfig.preset("7b")


def test_random_gates_are_the_ablation() -> None:
    torch.manual_seed(0)
    gates = AdapterConfig(LLAMA, 5, 3, gate_std=1.0).build().gates()
    assert gates.shape == (3, 6) and gates.abs().min() > 0
    assert gates.std() > 0.2


@torch.no_grad()
def test_who_looks_at_which_prompt() -> None:
    model, tokens = loud(adapter()).eval(), text()
    found = model.looks(tokens)
    assert [weights.shape for weights in found] == [(3, 6, 9, 5)] * 3
    for weights in found:
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 6, 9))
        assert weights.std() > 0.01
    layer = model.layers[0]  # a key that every query of a head likes takes all of its look
    layer.prompts.zero_()
    assert torch.allclose(model.looks(tokens)[0], torch.full((3, 6, 9, 5), 0.2))


@pytest.mark.parametrize("make", [adapter, image_adapter, v2, lora])
def test_blocks_may_be_computed_twice(make: Callable[[], Any]) -> None:
    found = []
    for twice in (False, True):
        model = loud(make(), 0.2)
        if twice:
            recompute_blocks(model)
        losses = model.losses(batch())
        torch.stack(list(losses.values())).sum().backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 5
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", [adapter, image_adapter, v2, lora])
def test_copies_stay_frozen_and_compute_the_same(make: Callable[[], Any]) -> None:
    model = loud(make(), 0.2)
    other = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    other.train()
    assert not any(part.training for part in other.llm.modules())
    names = [{n for n, p in m.named_parameters() if p.requires_grad} for m in (model, other)]
    assert names[0] == names[1]
    with torch.no_grad():
        assert torch.equal(other(text()), model(text()))
