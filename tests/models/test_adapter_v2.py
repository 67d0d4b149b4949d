"""LLaMA-Adapter V2: nothing at first, two kinds of data that never meet, early fusion, merging."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_adapters import LLAMA, batch, image_adapter, lora, loud, pictures, text, v2
from torch import Tensor, nn

from vlcourse.engine.config import TrainConfig
from vlcourse.engine.optimizer import adamw
from vlcourse.generate import Options, generate, search
from vlcourse.layers.errors import ModelError
from vlcourse.layers.states import block_states
from vlcourse.models.adapter import AdapterConfig
from vlcourse.models.adapter_v2 import AdapterV2, AdapterV2Config
from vlcourse.models.lora import PRESETS as LORAS
from vlcourse.models.lora import LoRAConfig

FUSIONS: dict[str, dict[str, Any]] = {
    "early": {},
    "late": {"fusion": "late", "queries": 5, "layers": 3},
    "tokens": {"visual_layers": 0},
}


def joint(images: bool = True) -> dict[str, Tensor]:
    """Rows: a caption, an instruction without image, one with, a caption."""
    found = batch(4)
    found["captions"] = torch.tensor([True, False, False, True])
    if images:
        found["shown"] = torch.tensor([True, False, True, True])
        found["pixels"] = pictures(3)
    return found


def grads(model: nn.Module) -> dict[str, bool]:
    """Which trained parameters have a gradient that is not 0."""
    return {
        name: parameter.grad is not None and bool(parameter.grad.any())
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("tower", ["vit", "grid"])
def test_at_the_beginning_it_is_the_base_model_bit_for_bit(
    tower: str, fusion: str, dtype: torch.dtype
) -> None:
    model, tokens = v2(tower, **FUSIONS[fusion]), text()
    model.llm.to(dtype)
    assert torch.equal(model(tokens, pixels=pictures()), model.llm(tokens))
    assert torch.equal(model(tokens), model.llm(tokens))


@torch.no_grad()
@pytest.mark.parametrize("what", ["pixels", "features"])
@pytest.mark.parametrize("tower", ["vit", "grid"])
def test_version_1_with_eyes(tower: str, what: str) -> None:
    model, tokens = image_adapter(tower), text()
    seen = {what: pictures() if what == "pixels" else model.image_features(pictures())}
    assert torch.equal(model(tokens, **seen), model.llm(tokens))
    loud(model.layers), loud(model.projection, 1.0)
    blind, told = model(tokens), model(tokens, **seen)
    assert not torch.allclose(blind, told, atol=1e-2)
    for row in range(3):  # a row sees its own image
        alone = model(tokens[[row]], **{what: seen[what][[row]]})
        torch.testing.assert_close(told[[row]], alone, atol=1e-4, rtol=1e-4)
    written = [
        generate(model, tokens, max_new_tokens=5, use_cache=use, **seen) for use in (True, False)
    ]
    assert torch.equal(*written)


@torch.no_grad()
def test_version_1_learns_from_rows_with_and_without_images() -> None:
    model, data = loud(image_adapter(), 0.5), batch(3)
    shown = {"shown": torch.tensor([True, False, True]), "pixels": pictures(2)}
    together = model.losses(data | shown)["lm"]
    alone = []
    for row, image in ((0, 0), (1, None), (2, 1)):
        seen = {} if image is None else {"pixels": pictures(2)[[image]]}
        alone.append(model.losses({k: v[[row]] for k, v in data.items()} | seen)["lm"])
    torch.testing.assert_close(together, torch.stack(alone).mean(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("tower", ["vit", "grid"])
def test_a_row_sees_its_own_image_also_word_by_word(tower: str, fusion: str) -> None:
    model, tokens = loud(v2(tower, **FUSIONS[fusion]), 0.2).eval(), text()
    told = model(tokens, pixels=pictures())
    assert not torch.allclose(told, model(tokens), atol=1e-3)
    torch.testing.assert_close(
        told, model(tokens, features=model.image_features(pictures())), atol=1e-5, rtol=1e-5
    )
    for row in range(3):
        alone = model(tokens[[row]], pixels=pictures()[[row]])
        torch.testing.assert_close(told[[row]], alone, atol=1e-4, rtol=1e-4)
    for beams in (1, 3):
        written = [
            search(model, tokens, Options(6, beams=beams), use_cache=use, pixels=pictures()).tokens
            for use in (True, False)
        ]
        assert torch.equal(*written)


@torch.no_grad()
def test_early_tokens_are_seen_by_the_first_layers_alone() -> None:
    model, tokens = loud(v2(), 0.2).eval(), text()
    for gate in model.early:
        gate.value.zero_()
    assert torch.equal(model(tokens, pixels=pictures()), model(tokens))
    model.early[1].value.fill_(0.5)
    states = [
        block_states(model.llm.blocks, lambda seen=seen: model(tokens, pixels=seen))
        for seen in (None, pictures())
    ]
    same = [torch.equal(blind, told) for blind, told in zip(*states, strict=True)]
    assert same == [True, False, False, False]


CAPTIONS = ("visual.", "early.")
INSTRUCTIONS = ("layers.", "tuned.", "norm_final.")


@pytest.mark.parametrize("kind", ["caption", "instruct"])
def test_each_kind_of_data_trains_its_own_parameters(kind: str) -> None:
    model = loud(v2(), 0.2)
    model.losses(joint())[kind].backward()
    own = CAPTIONS if kind == "caption" else INSTRUCTIONS
    for name, has in grads(model).items():
        assert has == name.startswith(own), name
    shared = loud(v2(groups="shared"), 0.2)
    shared.losses(joint())[kind].backward()
    missing = [name for name, has in grads(shared).items() if not has]
    assert not missing


def test_the_losses_are_means_over_each_kinds_words_whatever_stands_beside_them() -> None:
    model = loud(v2(), 0.2)
    found, data = model.losses(joint()), joint()
    assert {name: int(n) for name, n in model.counts(data).items()} == {
        "caption": 10, "instruct": 10
    }  # fmt: skip
    alone = []
    for row, image in ((0, 0), (1, None), (2, 1), (3, 2)):
        seen = {} if image is None else {"pixels": data["pixels"][[image]]}
        rows = {k: data[k][[row]] for k in ("tokens", "targets", "captions")}
        (loss,) = (v for v in model.losses(rows | seen).values() if v)
        alone.append(loss)
    torch.testing.assert_close(found["caption"], (alone[0] + alone[3]) / 2)
    torch.testing.assert_close(found["instruct"], (alone[1] + alone[2]) / 2)


def test_a_batch_of_one_kind_or_without_images() -> None:
    model = loud(v2(), 0.2)
    data = joint(images=False)
    found = model.losses(data)
    assert all(loss > 0 for loss in found.values())
    data["captions"] = torch.zeros(4, dtype=torch.bool)
    found = model.losses(data)
    assert found["caption"] == 0 and found["instruct"] > 0
    torch.stack(list(found.values())).sum().backward()
    data["targets"] = torch.full_like(data["targets"], -100)
    assert all(loss.isfinite() for loss in model.losses(data).values())  # nothing to learn


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_biases_scales_and_norms_merge_into_the_llama(fusion: str) -> None:
    model, tokens = loud(v2(**FUSIONS[fusion]), 0.2).eval(), text()
    before = model(tokens, pixels=pictures())
    merged = model.merged()
    torch.testing.assert_close(merged(tokens, pixels=pictures()), before, atol=1e-4, rtol=1e-4)
    assert torch.equal(model(tokens, pixels=pictures()), before)
    assert not merged.config.tuned and not len(merged.tuned)
    assert not any(parameter.requires_grad for parameter in merged.llm.parameters())
    assert not torch.allclose(merged.llm(tokens), model.llm(tokens), atol=1e-2)
    again = loud(v2(**FUSIONS[fusion], seed=7), 0.2).eval()  # around a LLaMA that has biases now
    again.llm = merged.llm
    before = again(tokens)
    torch.testing.assert_close(again.merged()(tokens), before, atol=1e-4, rtol=1e-4)


def test_the_seven_billion_ones_have_the_papers_shares() -> None:
    def trained(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters() if p.requires_grad)

    with torch.device("meta"):
        model = AdapterV2Config.preset("7B").build()
        released = AdapterV2Config.preset("7B released").build()
        seeing = AdapterConfig.preset("7B multimodal").build()
        rival = LORAS["7B"].build()
    whole = sum(p.numel() for p in model.llm.parameters())
    both = [p for n, p in model.tuned.named_parameters() if n.endswith(("bias", "scale"))]
    assert sum(p.numel() for p in both) == 2_719_744
    assert round(100 * 2_719_744 / whole, 2) == 0.04  # the paper: 0.04 % more
    norms = 65 * 4096
    assert trained(model.tuned) + trained(model.norm_final) == 2_719_744 + norms
    pretrained = trained(released.visual) + trained(released.layers) + 32  # layer 0's gate, unused
    assert round(pretrained / 1e6, 1) == 61.7
    assert round(trained(seeing) / 1e6, 2) == 1.79  # the paper: 1.8 M
    assert trained(rival) == 4_194_304  # 4.2 M


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"early": 3}, "early=3 is out of range: of the LLaMA's 4 layers 2"),
        ({"layers": 4}, "early=2 is out of range"),
        ({"layers": 5}, "has 4 layers"),
        ({"fusion": "late"}, "queries=3 are added to prompts=5"),
    ],
)
def test_shapes_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        v2(**changes)
    with pytest.raises(ModelError, match="did you mean '7B'"):
        AdapterV2Config.preset("7b")


@pytest.mark.parametrize(
    ("make", "shape", "said"),
    [
        (image_adapter, (3, 23), r"features are \(3, 23\), and this tower's \(B, 24\)"),
        (v2, (3, 5, 9), r"features are \(3, 5, 9\), and this tower's \(B, N, 8\)"),
    ],
)
def test_features_of_another_tower(make: Any, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        make()(text(), features=torch.zeros(shape))
    with pytest.raises(ModelError, match="one of the two"):
        make()(text(), features=torch.zeros(shape), pixels=pictures())
    with pytest.raises(ModelError, match="scales=4"):
        image_adapter(scales=4)
    with pytest.raises(ModelError, match="scales=5"):
        image_adapter("grid", scales=5)


def test_a_trained_one_is_adopted_by_its_shape() -> None:
    model = v2()
    assert v2(groups="shared").config.adopt(model) is model
    with pytest.raises(ModelError, match="differ"):
        v2(prompts=4).config.adopt(model)


@torch.no_grad()
def test_cells_of_a_grid_know_where_they_are_and_a_vits_tokens_do_already() -> None:
    for tower, tells in (("grid", True), ("vit", False)):
        model = v2(tower, visual_layers=0)
        features = torch.ones(1, 4, model.visual.into.in_features)  # alike in each cell
        seen = model.look(features=features)
        assert seen is not None
        assert bool((seen[0, 0] - seen[0, 1]).abs().max() > 1e-3) is tells


def test_each_side_learns_at_its_own_rate() -> None:
    model = v2("grid", visual_lr=0.1, early_lr=0.5, late_lr=0.2)
    named = {id(p): name.partition(".")[0] for name, p in model.named_parameters()}
    groups = adamw(model, TrainConfig()).param_groups
    factors = {named[id(p)]: group["factor"] for group in groups for p in group["params"]}
    late = dict.fromkeys(("layers", "tuned", "norm_final"), 0.2)
    assert factors == {"visual": 0.1, "early": 0.5} | late
    assert replace(model.config, visual_lr=1.0, early_lr=2.0, late_lr=1.0).adopt(model) is model
    less = v2("grid", fusion="late", queries=5, tuned=False, early_lr=0.5)
    assert set(less.lr_factors()) == {"visual", "layers"}  # the parts that there are


def test_lora_begins_as_the_base_model_and_is_a_low_rank_map() -> None:
    model, tokens = lora(targets=("q", "k", "v", "out", "gate", "up", "down")), text()
    assert torch.equal(model(tokens), model.llm(tokens))
    loud(model.layers)
    expected = model(tokens)
    for block, layer in zip(model.llm.blocks, model.layers, strict=True):
        for name, low in layer.items():
            part = block.attention if name in ("q", "k", "v", "out") else block.mlp
            linear = getattr(part, name)
            linear.weight.copy_(low.merged(linear.weight))
    torch.testing.assert_close(model.llm(tokens), expected, atol=1e-4, rtol=1e-4)


def test_lora_of_maps_that_are_none() -> None:
    with pytest.raises(ModelError, match="there is no linear map 'w'"):
        LoRAConfig(LLAMA, targets=("w",))
    with pytest.raises(ModelError, match="targets is empty"):
        replace(LoRAConfig(LLAMA), targets=())


def test_half_precision_and_autocast() -> None:
    model = loud(v2(), 0.2)
    model.llm.bfloat16()
    found = model.losses(joint())
    torch.stack(list(found.values())).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert isinstance(model, AdapterV2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert loud(v2(), 0.2)(text(), pixels=pictures()).isfinite().all()
