"""A second stage begins from any first stage, and trains the bridge only, by a given way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vlcourse.models.blip2 import BLIP2
from vlcourse.recipes import RECIPES, parts
from vlcourse.teach.blip2 import voice


@pytest.fixture(scope="module")
def own() -> BLIP2:
    recipe = RECIPES["blip2-capstone"]
    shape = replace(recipe.model.qformer, queries=3, width=16, heads=2)
    torch.manual_seed(5)
    return parts.started(replace(recipe, model=replace(recipe.model, qformer=shape)), RECIPES)


@pytest.mark.parametrize("name", ["blip2-toy-llm", "blip2-toy-seq2seq"])
def test_it_sees_what_the_first_stage_sees(own: BLIP2, name: str) -> None:
    _, model = voice.begin(own, name)
    pixels = torch.randn(2, 3, 32, 32)
    own.eval(), model.eval()
    with torch.no_grad():
        mine = own.qformer.look(own.image_tokens(pixels))[-1]
        theirs = model.qformer.look(model.image_tokens(pixels))[-1]
    torch.testing.assert_close(theirs, mine)
    assert model.prompt(pixels).shape == (2, 3, model.config.llm.width)


def test_only_the_bridge_learns_by_the_given_way(own: BLIP2) -> None:
    recipe, model = voice.begin(own)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = []

    def way(model: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
        calls.append(len(batch["tokens"]))
        return model.losses(batch)

    small = replace(recipe, train=replace(recipe.train, batch_size=4, warmup=1))
    result = voice.train(small, model, way, steps=2)
    assert calls == [4, 4] and [row["step"] for row in result.history] == [1, 2]
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed and all(n.startswith(("qformer", "projection", "norm_image")) for n in changed)
