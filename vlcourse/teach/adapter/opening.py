"""A short training of version 1, and how far its gates are open at each step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlcourse.engine import fit
from vlcourse.models.adapter import Adapter
from vlcourse.recipes import RECIPES
from vlcourse.recipes.adapter_data import ToldData
from vlcourse.teach.capstone import Assembled


def train(
    model: Adapter, steps: int, batch_size: int = 16
) -> tuple[list[dict[str, float]], Tensor]:
    """Train an adapter for a short time on instructions in words, as "adapter-toy" is trained.

    Args:
        model: it learns.
        steps, batch_size: of the training; the learning rate is a seventh of the recipe's, so that
            one sees the gates open.

    Returns:
        The rows of the log, a row a step; and (steps, layers, heads) the gates before each step,
        after their tanh.
    """
    recipe, opened = RECIPES["adapter-toy"], list[Tensor]()

    def way(model: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
        opened.append(model.gates().detach())
        return model.losses(batch)

    settings = replace(
        recipe.train, steps=steps, batch_size=batch_size, lr=0.15 * recipe.train.lr,
        warmup=min(20, steps),
    )  # fmt: skip
    run = replace(recipe.run, log_every=1, save_every=0, eval_every=0)
    data = ToldData(objects=(2, 3))
    told = data.dataset(model.config, settings, "train")
    collate = data.collate(model.config, train=True)
    result = fit(Assembled(model, way), told, collate, settings, run, plot=False)
    return result.history, torch.stack(opened)
