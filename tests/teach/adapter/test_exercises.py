"""The adapters' exercises: the references compute what the library does; so does the capstone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vlcourse import tokenizers, zoo
from vlcourse.data.collate.text import TextCollate
from vlcourse.layers.attention import Attention
from vlcourse.layers.prompts import prompted
from vlcourse.layers.tuned import BiasScale
from vlcourse.models.adapter import AdapterConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.recipes import RECIPES, parts
from vlcourse.teach import capstone, yours
from vlcourse.teach.exercise import find


def test_gated_attention_is_the_librarys() -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3, bias=False)
    gate, prompts, x = torch.tensor([0.4, -1.0, 2.0]), torch.randn(5, 12), torch.randn(2, 6, 12)
    q, k, v = attention.read(x)
    told = attention.keys_values(prompts[None])
    mine = attention.write(find("adapter.gated_attention").reference(q, k, v, *told, gate))
    theirs = prompted(attention, gate.tanh()[:, None, None], prompts[None], x, causal=True)
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(("std", "same"), [(0.0, True), (0.5, False)])
def test_the_start_is_the_old_model_where_the_gates_are_closed(std: float, same: bool) -> None:
    torch.manual_seed(0)
    llm = LLaMAConfig(11, 16, layers=2, heads=2, hidden=24, context=16)
    model = AdapterConfig(llm, prompts=3, layers=1, gate_std=std).build().eval()
    tokens = torch.randint(11, (2, 5))
    found, names = find("adapter.zero_init").reference(model, tokens, tokens.roll(-1, 1))
    assert found == same
    assert names == {"layers.0.gate.value"} | (set() if same else {"layers.0.prompts"})


def test_the_labels_are_the_collates() -> None:
    words = tokenizers.llama()
    pieces = [("how many rings?", False), ("2.", True), ("what colour?", False), ("red.", True)]
    encoded = [(words.encode(text), learned) for text, learned in pieces]
    tokens, targets = find("adapter.answer_only").reference(encoded, words.bos, words.eos)
    batch = TextCollate(words)([{"id": "", "parts": pieces}])
    assert tokens == batch["tokens"][0].tolist() and targets == batch["targets"][0].tolist()


def test_bias_and_scale_are_the_librarys() -> None:
    torch.manual_seed(0)
    own, linear, x = BiasScale(4), nn.Linear(6, 4, bias=False), torch.randn(2, 3, 6)
    with torch.no_grad():
        own.bias.normal_(), own.scale.normal_()
    mine = find("adapter.bias_scale").reference(x, linear.weight, own.bias, own.scale)
    torch.testing.assert_close(mine, own(linear, x))


def test_the_groups_are_those_that_the_losses_train() -> None:
    recipe = RECIPES["adapter-v2-toy"]
    torch.manual_seed(0)
    model = parts.started(recipe, RECIPES)
    with torch.no_grad():
        for gate in (*model.early, *(layer.gate for layer in model.layers)):
            gate.value.fill_(0.5)
    data = recipe.data.dataset(recipe.model, recipe.train, "train")
    batch = recipe.collate(train=True)([data[i] for i in range(8)])
    found = model.losses(batch)
    for loss, group in zip(
        (found["caption"], found["instruct"]), find("adapter.groups").reference(model), strict=True
    ):
        model.zero_grad()
        loss.backward(retain_graph=True)
        named = model.named_parameters()
        hit = {name for name, p in named if p.grad is not None and p.grad.any()}
        assert hit and hit <= group


def test_nothing_frozen_is_in_a_group() -> None:
    def parameter(learns: bool) -> nn.Parameter:
        return nn.Parameter(torch.zeros(1), requires_grad=learns)

    named = {"visual.a": True, "layers.0.b": True, "llm.c": False, "image.d": False}
    model = SimpleNamespace(named_parameters=lambda: [(n, parameter(x)) for n, x in named.items()])
    assert find("adapter.groups").reference(model) == ({"visual.a"}, {"layers.0.b"})


def test_the_capstone_is_the_librarys_model_and_its_file_holds_the_adapter_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(yours, "passed", {})
    run = capstone.train("adapter-capstone", find("adapter.model").reference, steps=2)
    assert run.verdict() in ("identical", "rounding"), str(run)
    capstone.keep(run)
    assert "kept as adapter-yours (2 steps; 0 of its 3" in capsys.readouterr().out
    kept = tmp_path / "zoo" / "adapter-yours" / "model.safetensors"
    learned = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    assert kept.stat().st_size < 4 * learned + 20_000
    back = zoo.load("adapter-yours").state_dict()
    assert all(torch.equal(value, back[name]) for name, value in run.model.state_dict().items())
