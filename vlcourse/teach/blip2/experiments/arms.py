"""What BLIP-2's experiments train: small Q-Formers between clip-toy-grid's tower and llm-toy.

Both are frozen, and the tower has seen each picture before: what it gave is kept on disk
(:mod:`vlcourse.recipes.features`), and is the same for all arms. Every run is kept, too
(:mod:`vlcourse.teach.blip.experiments.cache`): one that was stopped goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import engine, paths
from vlcourse.engine.config import NonFiniteLoss, RunConfig, TrainConfig
from vlcourse.layers.frozen import thaw
from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.blip2_image import tower_width
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.recipes import RECIPES, Recipe, parts
from vlcourse.recipes.features import WithFeatures, with_features
from vlcourse.teach.blip.experiments.cache import alone, each, kept, place
from vlcourse.teach.blip2 import voice

FIRST, SECOND = "blip2-toy", "blip2-toy-llm"
TUNING_SEED = 100  # of weights and pictures that no arm has


@dataclass(frozen=True)
class Settings:
    """The numbers of an arm, the same for all arms of an experiment."""

    first_steps: int = 400
    """Steps of a first stage."""
    first_batch: int = 32
    first_lr: float = 3e-3
    second_steps: int = 800
    """Steps of a second stage."""
    second_batch: int = 48
    pictures: int = 8_000
    """Training pictures; each comes several times."""
    objects: tuple[int, int] = (1, 2)
    """Least and greatest number of objects of a scene."""
    queries: int = 8
    width: int = 64
    layers: int = 2
    heads: int = 4
    scenes: int = 120
    """Held-out test scenes, each asked about and described."""
    pairs: int = 256
    """Test pictures for retrieval."""
    measured: int = 4
    """How often a second stage is measured on its way."""
    rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    """Learning rates of the second stage, of which each kind of arm takes the one that has the
    least loss after ``tuning_steps``."""
    tuning_steps: int = 150


@dataclass(frozen=True)
class Arm:
    """In what an arm may differ; by default in nothing."""

    queries: int = 0
    """Number of queries; 0 takes the settings'."""
    first: bool = True
    """Whether a first stage comes before the second."""
    longer: bool = False
    """Train the second stage for the first stage's steps, too."""
    linear: bool = False
    """A linear layer on the image tokens, in the place of the Q-Former."""
    tune_llm: bool = False
    """Train the language model along."""


class Straight(nn.Module):
    """In the place of the Q-Former: all image tokens as they are."""

    def look(self, image_tokens: Tensor, image_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """(B, N, C) → the same, as the only state."""
        return (image_tokens,)


def shaped(settings: Settings, arm: Arm, shape: Any) -> Any:
    """A recipe's model config with the arm's Q-Former."""
    s = settings
    qformer = replace(
        shape.qformer,
        queries=arm.queries or s.queries, width=s.width, layers=s.layers, heads=s.heads,
    )  # fmt: skip
    return replace(shape, qformer=qformer)


def trained_for(steps: int, batch_size: int, lr: float, seed: int) -> TrainConfig:
    """How a stage is trained."""
    return TrainConfig(
        steps=steps, batch_size=batch_size, lr=lr, warmup=min(50, max(1, steps // 4)), seed=seed
    )


def first_recipe(settings: Settings, arm: Arm, seed: int) -> Recipe:
    """An arm's first stage. (Foils are left out: they are no part of the paper's. It begins from
    nothing: there is no text model of the arms' width.)"""
    s, toy = settings, RECIPES[FIRST]
    data: Any = toy.data
    return replace(
        toy,
        model=shaped(s, arm, toy.model),
        data=replace(data, objects=s.objects, n_train=s.pictures, foils=False, every_foil=False),
        parts=tuple(part for part in toy.parts if part.frozen),
        train=trained_for(s.first_steps, s.first_batch, s.first_lr, seed),
    )


def begun(recipe: Recipe, seed: int) -> Any:
    """The model that a run begins with."""
    torch.manual_seed(seed)
    return parts.started(recipe, RECIPES)


def seen(model: Any, recipe: Recipe, split: str = "train") -> WithFeatures:
    """A recipe's data, whose pictures have gone through the tower."""
    folder = paths.cache_dir("claims") / "features"
    with alone(folder):
        return with_features(
            model, recipe.build_data(split), recipe.collate(train=split == "train"), folder
        )


def fit(
    name: str,
    key: Any,
    model: Any,
    recipe: Recipe,
    measure: Callable[[Any], dict[str, float]] | None = None,
    times: int = 1,
    keep: bool = True,
) -> engine.Result:
    """Train a model as a recipe says; a run that was finished is only read.

    Args:
        name, key: what the run is called in the cache, and all that it depends on.
        model: as it begins.
        recipe: data and training.
        measure, times: measure the model so often on its way.
        keep: whether the run is kept.
    """
    out = place(name, key) if keep else None
    run = RunConfig(
        log_every=25, eval_every=-(-recipe.train.steps // times) if measure else 0,
        save_every=200 if keep else 0, keep=1,
    )  # fmt: skip
    with alone(out or place(name, "not kept")):
        return engine.fit(
            model, seen(model, recipe), recipe.collate(train=True), recipe.train, run,
            evaluate=measure, out=out, frozen=parts.frozen(recipe, model), plot=False,
        )  # fmt: skip


def first_stage(
    settings: Settings, arm: Arm, seed: int, config: BLIP2Config | None = None
) -> tuple[BLIP2, engine.Result]:
    """An arm's first stage; ``config``: another model of it than the recipe's."""
    recipe = first_recipe(settings, arm, seed)
    if config is not None:
        recipe = replace(recipe, model=config)
    key = [recipe.model, type(recipe.model).__name__, recipe.train, recipe.data]
    model = begun(recipe, seed)
    result = fit("blip2 first", key, model, recipe)
    return model.eval(), result


def second_stage(
    settings: Settings,
    arm: Arm,
    seed: int,
    lr: float,
    measure: Callable[[Any], dict[str, float]] | None = None,
    steps: int = 0,
) -> tuple[BLIP2LLM, engine.Result]:
    """An arm's second stage; with ``steps`` a shorter one, which is not kept."""
    s, first = settings, first_recipe(settings, arm, seed)
    own = first_stage(s, arm, seed)[0] if arm.first else begun(first, seed)
    recipe, model = voice.begin(own, SECOND, seed)
    total = steps or s.second_steps + (s.first_steps if arm.longer else 0)
    data: Any = recipe.data
    recipe = replace(
        recipe,
        data=replace(data, objects=s.objects, n_train=s.pictures),
        train=trained_for(total, s.second_batch, lr, seed),
    )
    if arm.linear:
        torch.manual_seed(seed)
        model.qformer = Straight()  # type: ignore[assignment]
        width = model.projection.out_features
        model.projection = nn.Linear(tower_width(model.config.image), width)
    if arm.tune_llm:
        thaw(model.llm)
        recipe = replace(recipe, parts=tuple(p for p in recipe.parts if p.module != "llm"))
    key = [recipe.model, recipe.train, recipe.data, arm, first.model, first.train]
    times = s.measured if measure else 1
    result = fit("blip2 second", key, model, recipe, measure, times, keep=not steps)
    return model.eval(), result


def loss_at(lr: float, settings: Settings, arm: Arm) -> float:
    """The loss on validation texts after a short second stage; infinite where it ends in NaN."""
    s = settings

    def make() -> float:
        try:
            model, _ = second_stage(s, arm, TUNING_SEED, lr, steps=s.tuning_steps)
        except NonFiniteLoss:
            return math.inf
        recipe = RECIPES[SECOND]
        data: Any = recipe.data
        recipe = replace(
            recipe,
            data=replace(data, objects=s.objects, n_train=512),
            train=replace(recipe.train, steps=8, batch_size=64),
        )
        test, into = seen(model, recipe, "val"), recipe.collate(train=False)
        return sum(engine.evaluate_loss(model, test, into, 64).values())

    how = [s.first_steps, s.first_batch, s.first_lr, s.second_batch, s.pictures, s.objects]
    shape = [s.queries, s.width, s.layers, s.heads]
    return kept("blip2 rate", [arm, lr, s.tuning_steps, *how, *shape], make)


def rate(settings: Settings, arm: Arm) -> float:
    """The learning rate of an arm's kind; however many queries it has, and however long it is."""
    kind = replace(arm, queries=0, longer=False)
    rates = settings.rates
    if len(rates) == 1:
        return rates[0]
    found = each(loss_at, [(lr, settings, kind) for lr in rates])
    return rates[found.index(min(found))]
