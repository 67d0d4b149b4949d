"""A recipe's first lesson is learned from scratch, in the time that the recipe gives it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vlcourse.data.corpus import Corpus
from vlcourse.engine import fit
from vlcourse.evals import reading
from vlcourse.recipes import RECIPES


@pytest.mark.parametrize("name", ["llm-toy", "seq2seq-toy"])
def test_who_is_asked_for_a_thing_of_a_list_finds_it(name):
    recipe = RECIPES[name]
    steps = recipe.data.recall[0] // recipe.train.batch_size
    torch.manual_seed(recipe.train.seed)
    model, config = recipe.build_model(), replace(recipe.train, steps=steps)
    lists = Corpus("val", 200, 2, recall=(200, 0, 0, 0, 0)).__getitems__(range(200))
    asked = [sample["parts"][:3] for sample in lists]
    guess = sum(1 / len(told.split(",")) for (told, _), *_ in asked) / len(asked)  # any thing told
    collate = recipe.collate(train=False)
    assert reading.answers_right(model, collate, asked).float().mean() < guess
    fit(model, recipe.build_data("train"), recipe.collate(train=True), config)
    assert reading.answers_right(model, collate, asked).float().mean() > 2 * guess
