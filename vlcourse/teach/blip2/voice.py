"""A voice for a Q-Former of one's own: the second stage, before a frozen language model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlcourse.engine import Result, fit
from vlcourse.models.blip2 import BLIP2
from vlcourse.models.blip2_llm import BLIP2LLM, BLIP2LLMConfig
from vlcourse.recipes import RECIPES, Recipe, parts
from vlcourse.teach.capstone import Assembled

Way = Callable[[Any, dict[str, Any]], dict[str, Tensor]]


def begin(own: BLIP2, name: str = "blip2-toy-llm", seed: int = 0) -> tuple[Recipe, BLIP2LLM]:
    """The second stage that begins from a first stage of any shape.

    As in the paper each query becomes one vector, and all that learns does so at one rate.

    Args:
        own: the first stage; it is not changed.
        name: of the recipe of a second stage, which says what is read, and who speaks.
        seed: of the projection's weights.

    Returns:
        The recipe, for a Q-Former of this shape; and the model, whose tower and language model are
        frozen.
    """
    recipe, q = RECIPES[name], own.config.qformer
    shape = recipe.model
    assert isinstance(shape, BLIP2LLMConfig)
    shape = replace(shape, spread=1, qformer_lr=1.0, qformer=replace(
        shape.qformer, queries=q.queries, width=q.width, layers=q.layers, heads=q.heads,
        mlp_ratio=q.mlp_ratio, cross_every=q.cross_every,
    ))  # fmt: skip
    frozen = tuple(part for part in recipe.parts if part.module)
    recipe = replace(recipe, model=shape, parts=frozen)
    torch.manual_seed(seed)
    fresh = parts.started(recipe, RECIPES)
    assert isinstance(fresh, BLIP2LLM)
    learned = {n: t for n, t in own.state_dict().items() if n.startswith(("qformer", "norm_image"))}
    known = fresh.state_dict()
    fresh.load_state_dict(known | {n: t for n, t in learned.items() if n in known})
    return recipe, fresh


def train(recipe: Recipe, model: BLIP2LLM, way: Way, steps: int | None = None) -> Result:
    """Train what lies between the frozen parts; the losses are ``way(model, batch)``.

    ``steps``: None takes the recipe's.
    """
    settings = replace(recipe.train, steps=steps or recipe.train.steps)
    run = replace(recipe.run, log_every=1, save_every=0, eval_every=0)
    data = recipe.data.dataset(recipe.model, settings, "train")
    return fit(Assembled(model, way), data, recipe.collate(train=True), settings, run, plot=False)
