"""What the adapters' experiments train: small runs around the frozen llm-toy, all on one harness.

An arm is a recipe of the course with some numbers changed. What is found of each is kept
(:mod:`vlcourse.teach.blip.experiments.cache`), so that one that was stopped goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from vlcourse import engine
from vlcourse.engine.config import NonFiniteLoss, RunConfig
from vlcourse.layers.frozen import freeze
from vlcourse.models.adapter_v2 import AdapterV2
from vlcourse.recipes import RECIPES, Recipe, parts
from vlcourse.teach.blip.experiments.cache import alone, each, kept, place
from vlcourse.teach.blip.experiments.score import Found, Scores
from vlcourse.teach.blip.experiments.score import measurement as measurement

SEEDS = (0, 1, 2)
TUNING_SEED = 100  # of weights and scenes that no arm has


@dataclass(frozen=True)
class Settings:
    """The numbers of an arm, the same for all arms of an experiment."""

    steps: int = 300
    batch_size: int = 32
    scenes: int = 600
    """Held-out test scenes, each with an instruction."""
    pictures: int = 200
    """Test pictures to be described."""
    measured: int = 3
    """How often an arm is measured on its way."""
    rates: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Learning rates, times that of the arm's recipe, of which each kind of arm takes the one that
    has the least loss after ``tuning_steps``."""
    tuning_steps: int = 60


@dataclass(frozen=True)
class Arm:
    """A recipe, and what of its model and data is another."""

    recipe: str
    changes: tuple[tuple[str, Any], ...] = ()
    """Of the model."""
    data: tuple[tuple[str, Any], ...] = ()
    half: bool = False
    """Half of the batch: of two kinds of data the one that it has."""
    tuned: str = ""
    """The arm whose learning rate it takes; "" has one of its own."""
    told: bool = True
    """Only what instructions train is trained: no picture is ever seen."""


def recipe_of(arm: Arm, settings: Settings, seed: int, rate: float = 1.0, steps: int = 0) -> Recipe:
    """An arm's run; ``steps``: of a shorter one."""
    base, n = RECIPES[arm.recipe], steps or settings.steps
    model: Any = base.model
    data: Any = base.data
    return replace(
        base,
        model=replace(model, **dict(arm.changes)),
        data=replace(data, **dict(arm.data)),
        train=replace(
            base.train, steps=n, batch_size=settings.batch_size // (2 if arm.half else 1),
            lr=rate * base.train.lr, warmup=min(50, max(1, n // 4)), seed=seed,
        ),
        run=RunConfig(),
    )  # fmt: skip


def begun(recipe: Recipe, told: bool) -> Any:
    """The model that a run begins with; where all is told, version 2's eyes learn nothing."""
    torch.manual_seed(recipe.train.seed)
    model = parts.started(recipe, RECIPES)
    if told and isinstance(model, AdapterV2):
        freeze(model.visual)
        freeze(model.early)
    return model


def fit(
    arm: Arm,
    settings: Settings,
    seed: int,
    rate: float,
    measure: Callable[[Any], dict[str, float]] | None = None,
    steps: int = 0,
    keep: bool = False,
) -> engine.Result:
    """Train an arm.

    Args:
        arm, settings, seed: what is trained.
        rate: times the recipe's learning rate.
        measure: what is measured so often on its way as the settings say.
        steps: of a shorter training.
        keep: whether the run is kept; one that was finished is then only read.
    """
    recipe = recipe_of(arm, settings, seed, rate, steps)
    n = recipe.train.steps
    run = RunConfig(
        log_every=max(1, n // 20), save_every=100 if keep else 0, keep=1,
        eval_every=-(-n // settings.measured) if measure else 0,
    )  # fmt: skip
    model = begun(recipe, arm.told)
    out = place("adapter run", [recipe.model, recipe.train, recipe.data]) if keep else None
    with alone(out or place("adapter run", "not kept")):
        return engine.fit(
            model, recipe.build_data("train"), recipe.collate(train=True), recipe.train, run,
            evaluate=measure, out=out, frozen=parts.frozen(recipe, model), plot=False,
        )  # fmt: skip


def loss_at(factor: float, arm: Arm, settings: Settings) -> float:
    """The mean training loss of the last third of a short training; infinite where it breaks."""

    def make() -> float:
        try:
            found = fit(arm, settings, TUNING_SEED, factor, steps=settings.tuning_steps)
        except NonFiniteLoss:
            return math.inf
        losses = [row["loss"] for row in found.history]
        late = losses[-max(1, len(losses) // 3) :]
        return sum(late) / len(late)

    recipe = recipe_of(arm, settings, TUNING_SEED, factor, settings.tuning_steps)
    return kept("adapter rate", [recipe.model, recipe.train, recipe.data, arm.told], make)


def rate(arm: Arm, settings: Settings, arms: Mapping[str, Arm]) -> float:
    """The factor of the learning rate that suits an arm's kind best."""
    if arm.tuned:
        return rate(arms[arm.tuned], settings, arms)
    if len(settings.rates) == 1:
        return settings.rates[0]
    found = each(loss_at, [(factor, arm, settings) for factor in settings.rates])
    return settings.rates[found.index(min(found))]


def all_of(
    function: Callable[[str, int, float, Settings], Found],
    names: Sequence[str],
    arms: Mapping[str, Arm],
    seeds: Sequence[int],
    settings: Settings,
) -> Scores:
    """``function(name, seed, rate, settings)`` of some arms, by name, seed by seed."""
    rates = {name: rate(arms[name], settings, arms) for name in names}
    jobs = [(name, seed, rates[name], settings) for seed in seeds for name in names]
    found = dict(zip((job[:2] for job in jobs), each(function, jobs), strict=True))
    return {name: [found[name, seed] for seed in seeds] for name in names}
