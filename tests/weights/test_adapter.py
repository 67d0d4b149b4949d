"""Adapters of others: the released layouts in and out, and peft's, computed as peft does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_twin import LAYERS, text, twin
from tiny_adapters import adapter, image_adapter, lora, loud, pictures, v2
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.weights import (
    WeightsError,
    from_hf,
    from_peft,
    from_released,
    from_released_v2,
    save_peft,
    to_peft,
    to_released,
    to_released_v2,
)
from vlcourse.weights.state import weights_of

GROUPS = {"one group": 1, "all heads": 3}


def same(one: nn.Module, other: nn.Module, parts: tuple[str, ...]) -> None:
    """Both have equal tensors in these parts."""
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        if name.startswith(parts):
            torch.testing.assert_close(second[name], tensor, atol=1e-6, rtol=1e-6)


# ------------------------------------------------------------------------------ released V1


def test_version_1_goes_out_and_comes_in(tmp_path: Path) -> None:
    model = loud(adapter())
    theirs = to_released(model)
    assert {name: tuple(t.shape) for name, t in theirs.items()} == {
        "adapter_query.weight": (15, 36),
        **{f"layers.{i}.attention.gate": (1, 6, 1, 1) for i in range(4)},
    }
    assert not theirs["layers.0.attention.gate"].any()  # a layer without prompts
    assert torch.equal(theirs["adapter_query.weight"][5:10], model.layers[1].prompts)
    file = tmp_path / "adapter_len5_layer3.pth"
    torch.save(theirs, file)
    for source in (file, theirs, {"model": theirs}):
        same(model, from_released(source, model.llm, prompts=5), ("layers.",))


def released_v1(weights: dict[str, Tensor], model: nn.Module, tokens: Tensor) -> Tensor:
    """The released forward pass, written again from its description: one softmax a part."""
    llm: Any = model.llm
    heads, groups, width = 6, 2, 6
    x = llm.token(tokens)
    length = tokens.shape[1]
    angles = torch.arange(length)[:, None] * 1e4 ** (-torch.arange(0, width, 2) / width)
    turn = torch.polar(torch.ones_like(angles), angles)

    def split(y: Tensor, n: int) -> Tensor:
        return y.unflatten(-1, (n, width)).transpose(1, 2).repeat_interleave(heads // n, dim=1)

    def rotated(y: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous())
                                  * turn).flatten(-2)  # fmt: skip

    queries = weights["adapter_query.weight"].reshape(3, 1, 5, 36)
    for i, block in enumerate(llm.blocks):
        own, h = block.attention, block.norm1(x)
        q, k = rotated(split(own.q(h), heads)), rotated(split(own.k(h), groups))
        v = split(own.v(h), groups)
        scores = q @ k.mT / width**0.5 + torch.full((length, length), -torch.inf).triu(1)
        y = scores.softmax(-1) @ v
        if i >= 1:
            gate, told = weights[f"layers.{i}.attention.gate"].tanh(), queries[i - 1]
            seen = (q @ split(own.k(told), groups).mT / width**0.5).softmax(-1)
            y = y + gate * seen @ split(own.v(told), groups)
        x = x + own.out(y.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    return llm.head(llm.norm_final(x))


@torch.no_grad()
def test_version_1_computes_what_the_released_code_does() -> None:
    model = loud(adapter(), 0.5)
    tokens = torch.randint(43, (2, 7), generator=torch.Generator().manual_seed(0))
    expected = released_v1(to_released(model), model, tokens)
    torch.testing.assert_close(model(tokens), expected, atol=1e-4, rtol=1e-4)


# ------------------------------------------------------------------------------ released V2


def v2_released(tuned: bool = True) -> Any:
    """A version 2 that the released layout can tell: late, without scales and two biases."""
    model = loud(v2(fusion="late", queries=5, layers=3, tuned=tuned), 0.2)
    with torch.no_grad():
        for layer in model.tuned:
            for name, around in layer.linears.items():
                around.scale.fill_(1)
                if name in ("k", "v"):
                    around.bias.zero_()
    return model


@pytest.mark.parametrize("tuned", [True, False])
def test_version_2_goes_out_and_comes_in(tuned: bool, tmp_path: Path) -> None:
    model = v2_released(tuned)
    theirs = to_released_v2(model)
    names = {"adapter_query.weight", "visual_query.weight", "clip_proj.bias", "visual_proj.weight"}
    names |= {"visual_blocks.1.attn.qkv.weight", "visual_blocks.0.mlp.fc2.bias"}
    names |= {"llama.layers.3.attention.gate", "clip_proj_norm.weight", "visual_proj_norm.bias"}
    own = {"llama.layers.0.attention.wq.bias", "llama.layers.3.feed_forward.w2.bias"}
    own |= {"llama.norm.weight", "llama.layers.2.ffn_norm.weight"}
    assert names <= theirs.keys() and (own <= theirs.keys()) == tuned
    assert not any(".wk." in name or ".wv." in name for name in theirs)
    assert theirs["visual_blocks.1.attn.qkv.weight"].shape == (30, 10)
    if tuned:
        norm = model.llm.blocks[2].norm2.weight + model.tuned[2].norm2.shift
        torch.testing.assert_close(theirs["llama.layers.2.ffn_norm.weight"], norm)
    file = tmp_path / "BIAS.pth"
    torch.save({"model": theirs, "config": {"w_bias": tuned}}, file)
    clip = {"clip.visual.conv1.weight": torch.zeros(1)}
    for source in (file, theirs, theirs | clip):
        back = from_released_v2(source, model.llm, model.config)
        assert back.config == model.config
        same(model, back, ("layers.", "visual.", "tuned.", "norm_final."))
        back.image, back.image_projection = model.image, model.image_projection
        tokens = torch.arange(12).reshape(2, 6)
        with torch.no_grad():
            told = model(tokens, pixels=pictures(2))
            torch.testing.assert_close(back(tokens, pixels=pictures(2)), told)


def test_what_the_released_version_2_cannot_tell() -> None:
    with pytest.raises(WeightsError, match="fuses late"):
        to_released_v2(v2())
    model = v2_released()
    model.tuned[1].linears["k"].bias.data.fill_(0.1)
    with pytest.raises(WeightsError, match="no biases of keys, and this adapter: tuned.1.lin"):
        to_released_v2(model)
    model = v2_released()
    model.tuned[0].linears["up"].scale.data[0] = 2
    with pytest.raises(WeightsError, match="no scales, and this adapter: tuned.0.linears.up.scale"):
        to_released_v2(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("adapter_query.weight"), "no matrix adapter_query.weight"),
        (lambda w: w.pop("visual_query.weight"), "no matrix visual_query.weight"),
        (lambda w: w.pop("clip_proj.bias"), "1 missing: clip_proj.bias"),
        (lambda w: w.pop("llama.layers.0.attention.wq.bias"), "1 missing: llama.layers.0.att"),
        (lambda w: w.update(other=torch.zeros(1)), "1 unused: other"),
        (lambda w: w.update({"llama.layers.0.lora_wq_l1": torch.zeros(1)}), "has LoRA maps too"),
        (
            lambda w: w.update({"llama.layers.3.attention.gate": torch.zeros(6)}),
            r"llama.layers.3.attention.gate \(6,\) instead of \(1, 6, 1, 1\)",
        ),
    ],
)
def test_bad_files_of_version_2(change: Callable[[dict[str, Any]], Any], said: str) -> None:
    model = v2_released()
    theirs = to_released_v2(model)
    change(theirs)
    with pytest.raises(WeightsError, match=said):
        from_released_v2(theirs, model.llm, model.config)


def test_bad_files_of_version_1() -> None:
    model = adapter()
    theirs = to_released(model)
    with pytest.raises(WeightsError, match="15 rows, no multiple of 10"):
        from_released(theirs, model.llm)
    with pytest.raises(WeightsError, match="prompts for 15 layers, and the LLaMA has 4"):
        from_released(theirs, model.llm, prompts=1)
    with pytest.raises(WeightsError, match="1 missing: layers.2.attention.gate"):
        lost = {n: t for n, t in theirs.items() if not n.startswith("layers.2")}
        from_released(lost, model.llm, prompts=5)
    with pytest.raises(WeightsError, match="one gate a head"):
        to_released(adapter(gate="linear"))


# ------------------------------------------------------------------------------ peft


def adapted_twin(groups: int, layers: int, **changes: Any) -> Any:
    """transformers' LLaMA in peft's AdaptionPrompt, its gates far from 0."""
    peft = pytest.importorskip("peft")
    config = peft.AdaptionPromptConfig(adapter_len=4, adapter_layers=layers, task_type="CAUSAL_LM")
    model = peft.get_peft_model(twin(num_key_value_heads=groups, **changes), config).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adaption_gate" in name:
                parameter.fill_(1.5 - torch.rand(()).item())
            elif "adaption_prompt" in name:
                parameter.normal_()
    return model


def ours_of(theirs: Any) -> Any:
    """Our twin of a peft model."""
    import peft

    base = theirs.get_base_model()
    plain = twin(num_key_value_heads=base.config.num_key_value_heads)
    settings = json.loads(json.dumps(theirs.peft_config["default"].to_dict(), default=str))
    settings["peft_type"] = theirs.peft_config["default"].peft_type.value
    if settings.get("target_modules") and not isinstance(settings["target_modules"], str):
        settings["target_modules"] = sorted(theirs.peft_config["default"].target_modules)
    elif settings["peft_type"] == "LORA":
        settings["target_modules"] = sorted(theirs.peft_config["default"].target_modules)
    llm: Any = from_hf(plain)
    return from_peft(peft.get_peft_model_state_dict(theirs), llm, settings)


@pytest.mark.parametrize("layers", [LAYERS, 2])
@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_prompts_are_computed_as_peft_does_with_open_gates(groups: int, layers: int) -> None:
    theirs = adapted_twin(groups, layers)
    ours, tokens = ours_of(theirs), text(3, 8)
    assert ours.config.layers == layers and (ours.gates() > 0.4).all()
    assert not any(parameter.requires_grad for parameter in ours.llm.parameters())
    expected = theirs(tokens).logits
    found = ours(tokens)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, ours.llm(tokens), atol=0.05)
    F.cross_entropy(expected.flatten(0, 1), text(3, 8).flatten()).backward()
    F.cross_entropy(found.flatten(0, 1), text(3, 8).flatten()).backward()
    grads = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    assert len(grads) == 2 * layers
    for i, layer in enumerate(ours.layers):
        where = f"base_model.model.model.layers.{LAYERS - layers + i}.self_attn"
        torch.testing.assert_close(
            layer.prompts.grad, grads[f"{where}.adaption_prompt"][0], atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            layer.gate.value.grad, grads[f"{where}.adaption_gate"], atol=1e-5, rtol=1e-4
        )


def test_each_layers_prompts_count_in_the_parity() -> None:
    theirs, tokens = adapted_twin(1, LAYERS), text(3, 8)
    ours = ours_of(theirs)
    with torch.no_grad():
        whole = ours(tokens)
        for layer in ours.layers:
            value = layer.gate.value.clone()
            layer.gate.value.zero_()
            assert not torch.allclose(ours(tokens), whole, atol=1e-3)
            layer.gate.value.copy_(value)


@torch.no_grad()
def test_prompts_in_half_precision_as_peft_has_them() -> None:
    theirs = adapted_twin(1, 2).bfloat16()
    ours = ours_of(theirs).bfloat16()
    found, expected = ours(text(3, 8)).float(), theirs(text(3, 8)).logits.float()
    exact = adapted_twin(1, 2)
    whole = exact(text(3, 8)).logits
    error, their_error = (found - whole).abs().mean(), (expected - whole).abs().mean()
    assert error < 1.5 * their_error


TARGETS = {
    "attention": ["q_proj", "v_proj"],
    "all": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}


def lora_twin(groups: int, targets: list[str]) -> Any:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=targets, task_type="CAUSAL_LM")
    model = peft.get_peft_model(twin(num_key_value_heads=groups), config).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_lora_is_computed_as_peft_does(groups: int, targets: list[str]) -> None:
    theirs = lora_twin(groups, targets)
    ours, tokens = ours_of(theirs), text(3, 8)
    found, expected = ours(tokens), theirs(tokens).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, ours.llm(tokens), atol=0.05)
    found.square().mean().backward(), expected.square().mean().backward()
    where = "base_model.model.model.layers.1.self_attn.v_proj.lora_A.default.weight"
    theirs_grad = dict(theirs.named_parameters())[where].grad
    torch.testing.assert_close(ours.layers[1]["v"].a.grad, theirs_grad, atol=1e-4, rtol=1e-3)


def test_lora_begins_as_pefts() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=64, target_modules=["v_proj"], task_type="CAUSAL_LM")
    theirs = peft.get_peft_model(twin(), config)
    drawn = [p for n, p in theirs.named_parameters() if "lora_A" in n][0]
    own = lora(rank=64).layers[0]["v"]
    assert not own.b.any()
    bounds = [p.abs().max() * p.shape[1] ** 0.5 for p in (drawn, own.a)]
    torch.testing.assert_close(*bounds, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("kind", ["prompts", "lora"])
def test_folders_of_pefts_go_both_ways(kind: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    theirs = adapted_twin(1, 2) if kind == "prompts" else lora_twin(1, TARGETS["all"])
    theirs.save_pretrained(tmp_path / "theirs")
    llm: Any = from_hf(twin(num_key_value_heads=1))
    ours = from_peft(tmp_path / "theirs", llm)
    with torch.no_grad():
        expected = theirs(text(2, 6)).logits
        torch.testing.assert_close(ours(text(2, 6)), expected, atol=1e-4, rtol=1e-4)
    save_peft(ours, tmp_path / "ours")
    base = twin(num_key_value_heads=1)
    back = peft.PeftModel.from_pretrained(base, tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(back(text(2, 6)).logits, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(WeightsError, match="exists already"):
        save_peft(ours, tmp_path / "ours")
    assert not list(tmp_path.glob(".tmp-*"))


def test_gates_that_peft_cannot_tell() -> None:
    model = adapter()
    for layer in model.layers:
        layer.gate.value.data.fill_(0.4)
    weights, _ = to_peft(model)
    gate = weights["base_model.model.model.layers.1.self_attn.adaption_gate"]
    torch.testing.assert_close(gate, torch.tensor([0.4]).tanh())
    model.layers[2].gate.value.data[3] = 1
    with pytest.raises(WeightsError, match="heads of layer 2 have different gates"):
        to_peft(model)
    with pytest.raises(WeightsError, match="sees no images"):
        to_peft(image_adapter())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q": 3}}, "rank_pattern"),
        ({"target_modules": ["qkv"]}, "target_modules"),
        ({"target_modules": None}, "target_modules"),
        ({"r": 0}, "has r 0; our model needs"),
    ],
)
def test_settings_of_pefts_that_ours_has_not(changes: dict[str, Any], said: str) -> None:
    model = lora()
    weights, settings = to_peft(model)
    assert from_peft(weights, model.llm, settings).config == model.config
    with pytest.raises(WeightsError, match=said):
        from_peft(weights, model.llm, settings | changes)
    with pytest.raises(WeightsError, match="pass settings"):
        from_peft(weights, model.llm)
