"""A recipe's first lesson is learned from scratch, with the documents that the recipe gives it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from vlcourse.data.corpus import Corpus
from vlcourse.engine import RunConfig, fit
from vlcourse.evals import reading
from vlcourse.recipes import RECIPES


class Learned(Exception):
    """The lesson is learned; the rest of the run shows no more."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llm-toy", "seq2seq-toy"])
def test_who_is_asked_for_a_thing_of_a_list_finds_it(name):
    """In batches of 16: a quarter of the work for each step, and about as many steps."""
    recipe = RECIPES[name]
    torch.manual_seed(recipe.train.seed)
    model, config = recipe.build_model(), replace(recipe.train, batch_size=16)
    lists = Corpus("val", 200, 2, recall=(200, 0, 0, 0, 0)).__getitems__(range(200))
    asked = [sample["parts"][:3] for sample in lists]
    guess = sum(1 / len(told.split(",")) for (told, _), *_ in asked) / len(asked)  # any thing told
    collate, steps = recipe.collate(train=False), iter(range(0, recipe.data.recall[0] // 16, 25))

    def examine(model: nn.Module) -> dict[str, float]:
        right = reading.answers_right(model, collate, asked).float().mean().item()
        if right > 2 * guess:
            raise Learned
        assert next(steps, None) is not None, f"not learned in time: {right:.2f}"
        return {"right": right}

    assert examine(model)["right"] < guess
    data, run = recipe.build_data("train"), RunConfig(eval_every=25)
    with pytest.raises(Learned):
        fit(model, data, recipe.collate(train=True), config, run, evaluate=examine)
