"""Adapters of Hugging Face's peft, in and out, computed as peft does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_twin import LAYERS, text, twin
from tiny_adapters import adapter, image_adapter, lora
from torch.nn import functional as F

from vlcourse.weights import WeightsError, from_hf, from_peft, save_peft, to_peft

GROUPS = {"one group": 1, "all heads": 3}


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
