"""Captions train some of an adapter's parameters; instructions in words feel only the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vlcourse.models.adapter_v2 import AdapterV2, AdapterV2Config
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.teach.adapter.captions import train_on
from vlcourse.teach.adapter.exercises.groups import parameter_groups

Batch = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> AdapterV2:
    torch.manual_seed(0)
    config = AdapterV2Config(
        LLaMAConfig(11, 16, layers=3, heads=2, hidden=24, context=16),
        image=ViTConfig(16, 8, 16, 1, 2), image_embed=8, prompts=2, layers=2, queries=2, early=1,
        visual_width=8, visual_layers=0, visual_heads=2,
    )  # fmt: skip
    made = AdapterV2(config).eval()
    with torch.no_grad():
        for gate in (*made.early, *(layer.gate for layer in made.layers)):
            gate.value.fill_(0.5)
    return made


@pytest.fixture(scope="module")
def batches() -> tuple[list[Batch], Batch]:
    torch.manual_seed(1)
    tokens = torch.randint(11, (2, 6))
    told = {"tokens": tokens, "targets": tokens.roll(-1, 1)}
    return [told | {"features": torch.randn(2, 4, 8)}] * 12, told


def test_captions_change_what_is_told_only_by_what_it_uses(
    model: AdapterV2, batches: tuple[list[Batch], Batch]
) -> None:
    before = {name: p.clone() for name, p in model.state_dict().items()}
    sees, follows = parameter_groups(model)
    apart = train_on(model, sees, *batches, every=4)
    shared = train_on(model, sees | follows, *batches, every=4)
    assert [row["step"] for row in apart] == [0, 4, 8, 12]
    assert len({row["instruct"] for row in apart}) == 1
    assert shared[-1]["instruct"] != shared[0]["instruct"]
    assert apart[-1]["caption"] < apart[0]["caption"]
    assert shared[-1]["caption"] < shared[0]["caption"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad == (n in sees | follows) for n, p in model.named_parameters())
