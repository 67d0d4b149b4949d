"""clip.real: photos of CIFAR-10 by prompts, and classes that were left out of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlcourse import engine, zoo
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics
from vlcourse.recipes import RECIPES, Recipe
from vlcourse.recipes.clip import PairData
from vlcourse.teach.measurement import Measurement

RESAMPLES = 2000
LEFT_OUT = ("cat", "truck")


class Without:
    """A labelled dataset without the samples of some classes."""

    def __init__(self, data: Any, left_out: Sequence[str]) -> None:
        if unknown := set(left_out) - set(data.classes):
            raise ValueError(f"no class is called {', '.join(sorted(unknown))}")
        self.data, self.classes = data, data.classes
        kept = {i for i, name in enumerate(data.classes) if name not in left_out}
        self.rows = [i for i in range(len(data)) if data[i]["label"] in kept]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.data[self.rows[index]]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The samples of these rows."""
        return self.data.__getitems__([self.rows[i] for i in indices])


def real_photos(left_out: Sequence[str] = LEFT_OUT, steps: int = 1000) -> Measurement:
    """The shipped model on test photos, then one trained without two classes.

    Args:
        left_out: classes that the second model has no photo and no caption of.
        steps: of its training, which is otherwise that of the shipped model.

    Returns:
        Accuracy of the shipped model among the ten classes; in ``others`` "left out", the second
        model's accuracy on photos of the classes it never saw, among all ten.
    """
    recipe = RECIPES["clip-cifar"]
    photos = recipe.build_data("test")
    labels = torch.tensor([photos[i]["label"] for i in range(len(photos))])
    model = clip_evals.as_clip(zoo.load("clip-cifar"))
    hits = clip_evals.labelled_details(model, recipe.tokenizer(), photos, templates_of(recipe))
    never = never_seen(recipe, photos, left_out, steps)
    new = torch.isin(labels, torch.tensor([photos.classes.index(name) for name in left_out]))
    low, high = metrics.bootstrap_interval(hits, RESAMPLES)
    new_low, new_high = metrics.bootstrap_interval(never[new], RESAMPLES)
    return Measurement(
        measured=float(hits.mean()),
        low=low,
        high=high,
        bootstrap=RESAMPLES,
        recipe=zoo.card("clip-cifar")["recipe"],
        others={
            "left out": float(never[new].mean()),
            "left out low": new_low,
            "left out high": new_high,
            "left out, other classes": float(never[~new].mean()),
        },
        figure={
            "accuracy by class": _by_class(hits, labels, photos.classes),
            "accuracy by class, some left out": _by_class(never, labels, photos.classes),
            "left out": list(left_out),
            "steps without them": steps,
        },
    )


def never_seen(recipe: Recipe, photos: Any, left_out: Sequence[str], steps: int) -> Tensor:
    """Right or wrong for each test photo, by a model trained without the classes ``left_out``."""
    config = replace(recipe.train, steps=steps, warmup=min(recipe.train.warmup, steps))
    torch.manual_seed(config.seed)
    data = Without(recipe.build_data("train"), left_out)
    collate = recipe.collate(train=True)
    result = engine.fit(recipe.build_model(), data, collate, config, recipe.run, plot=False)
    model = clip_evals.as_clip(result.model)
    return clip_evals.labelled_details(model, recipe.tokenizer(), photos, templates_of(recipe))


def templates_of(recipe: Recipe) -> tuple[str, ...]:
    """The prompts of a recipe with labelled photos."""
    assert isinstance(recipe.data, PairData)
    return recipe.data.templates


def _by_class(hits: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, float]:
    return {name: float(hits[labels == i].mean()) for i, name in enumerate(classes)}
