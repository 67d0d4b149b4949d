"""A recipe's first lesson is learned from scratch, in the time that the recipe gives it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vlcourse import evals_text
from vlcourse.data.corpus import Corpus
from vlcourse.engine import fit
from vlcourse.recipes import RECIPES


@pytest.mark.parametrize("name", ["llm-toy", "seq2seq-toy"])
def test_who_is_asked_for_a_thing_of_a_list_finds_it(name):
    recipe = RECIPES[name]
    steps = recipe.data.recall[0] // recipe.train.batch_size
    torch.manual_seed(recipe.train.seed)
    model, config = recipe.build_model(), replace(recipe.train, steps=steps, eval_every=0)
    lists = Corpus("val", 200, 2, recall=(200, 0, 0, 0, 0))
    asked = [sample["parts"][:3] for sample in lists.__getitems__(range(200))]
    collate = recipe.collate(train=False)
    assert evals_text.answers_right(model, collate, asked).float().mean() < 0.2
    fit(model, recipe.build_data("train"), recipe.collate(train=True), config)
    print(name, evals_text.answers_right(model, collate, asked).float().mean())
    assert evals_text.answers_right(model, collate, asked).float().mean() > 0.9
