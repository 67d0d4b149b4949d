"""videochat.stages: films described first and then asked about, or asked about all the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from vlcourse import engine
from vlcourse.evals import filmed
from vlcourse.models.videochat import VideoChat
from vlcourse.recipes import RECIPES, Recipe, parts
from vlcourse.recipes.recipe import Part
from vlcourse.teach.blip.experiments.cache import kept
from vlcourse.teach.blip.experiments.score import Found, Scores, measurement, minus, with_ends
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.videochat.experiments import arms
from vlcourse.teach.videochat.experiments.arms import FIRST, SEEDS, START, Settings

TWO, ONE = "two stages", "one stage"
VALIDATED = 128  # chats about films of the validation split


def first_stage(seed: int, settings: Settings) -> VideoChat:
    """A first stage that begins as the recipe's does, from a BLIP-2."""
    recipe = arms.sized(FIRST, settings, seed, settings.first_steps)
    torch.manual_seed(seed)
    model = filmed.as_videochat(parts.started(recipe, RECIPES))
    key = [recipe.model, recipe.train, recipe.data]
    return filmed.as_videochat(arms.fit("videochat first", key, model, recipe, False).model)


def chats(name: str, seed: int, settings: Settings) -> Recipe:
    """An arm's training on chats; a single stage has the steps of both, and begins as the first."""
    s = settings
    if name == TWO:
        return arms.sized(START, s, seed, s.second_steps)
    recipe = arms.sized(START, s, seed, s.first_steps + s.second_steps)
    begins = tuple(part for part in RECIPES[FIRST].parts if not part.module)
    return replace(recipe, parts=(*begins, *(part for part in recipe.parts if part.module)))


def begun(name: str, recipe: Recipe, settings: Settings) -> VideoChat:
    """The model with which an arm's training on chats begins."""
    seed = recipe.train.seed
    if name == TWO:
        return first_stage(seed, settings).train()
    torch.manual_seed(seed)
    return filmed.as_videochat(parts.started(recipe, RECIPES))


def arm(name: str, seed: int, settings: Settings) -> Found:
    """What an arm answers (`arms.answered`), and "validation": its loss on other films' chats."""
    s = settings
    recipe = chats(name, seed, s)
    first = RECIPES[FIRST]
    begins: list[Part] = list(first.parts)
    key = [name, recipe.model, recipe.train, recipe.data, begins, first.data, s.first_steps]

    def make() -> dict[str, float]:
        model = begun(name, recipe, s)
        result = arms.fit("videochat second", key, model, recipe, False)
        trained = filmed.as_videochat(result.model)
        return {
            **arms.answered(trained, recipe, s), "validation": validation(trained, recipe),
            **arms.losses(result),
        }  # fmt: skip

    return kept("videochat stages", [*key, s.per_kind], make)


def validation(model: VideoChat, recipe: Recipe) -> float:
    """The loss of chats about films of the validation split, in nats a token."""
    batch = 16
    data: Any = recipe.data
    test = replace(
        recipe,
        data=replace(data, n_train=VALIDATED),
        train=replace(recipe.train, steps=VALIDATED // batch, batch_size=batch, seed=0),
    ).build_data("val")
    return sum(engine.evaluate_loss(model, test, recipe.collate(train=False), batch).values())


def stages(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """Both stages, and the second alone for the steps of both.

    Args:
        seeds: of weights and of the order of the data, the same for both arms; three or more.
        settings: the numbers of an arm.

    Returns:
        ``measured``: questions answered (mean over kinds), two stages minus one, paired by seed. In
        ``others``: "temporal" for questions about time; "validation" for the loss of chats about
        other films, one stage minus two.
    """
    s = settings or Settings()
    return compare_stages(arms.all_of((TWO, ONE), seeds, s, arm), seeds, s)


def compare_stages(scores: Scores, seeds: Sequence[int], settings: Settings) -> Measurement:
    """From both arms' numbers to what `stages` returns."""
    two, one = scores[TWO], scores[ONE]
    others = with_ends("temporal", minus(two, one, "temporal"))
    others |= with_ends("validation", minus(one, two, "validation"))
    told = ("mean", "temporal", "image", "validation")
    return measurement(minus(two, one, "mean"), scores, told, seeds, settings, others)
