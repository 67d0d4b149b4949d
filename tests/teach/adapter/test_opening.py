"""A short training of version 1 is logged with its gates, which begin where they were put."""

from __future__ import annotations

import torch

from vlcourse.recipes import RECIPES, parts
from vlcourse.teach.adapter import opening


def test_gates_begin_closed_and_open() -> None:
    torch.manual_seed(0)
    model = parts.started(RECIPES["adapter-toy"], RECIPES)
    before = model.layers[0].prompts.clone()
    rows, gates = opening.train(model, steps=3, batch_size=2)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert gates.shape == (3, 3, 4) and not gates[0].any() and gates[1:].all()
    assert not torch.equal(model.layers[0].prompts, before)
