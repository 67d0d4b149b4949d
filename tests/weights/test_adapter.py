"""The layouts of released LLaMA-Adapters, in and out, computed as their code does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_adapters import adapter, loud, pictures, v2
from torch import Tensor, nn

from vlcourse.weights import (
    WeightsError,
    from_released,
    from_released_v2,
    to_released,
    to_released_v2,
)
from vlcourse.weights.state import weights_of


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
