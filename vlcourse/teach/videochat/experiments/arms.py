"""What VideoChat's experiments train: the trained videochat-toy goes on with one thing changed.

An arm begins with its weights, but for what the arms differ in: the aggregators and the clock begin
anew in every arm, with the seed, and learn along with all the rest. The same films are there for
all arms and seeds, and have gone through the frozen tower before
(:mod:`vlcourse.recipes.features`); the seed says what is fresh, what is
dropped out, and in which order the chats come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import mean
from typing import Any

import torch

from vlcourse import engine, paths, zoo
from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.collate.video import VideoCollate
from vlcourse.data.corpus.dialogues import Dialogue
from vlcourse.data.media import sampled
from vlcourse.engine.config import RunConfig
from vlcourse.evals import filmed, video
from vlcourse.layers.frozen import freeze
from vlcourse.models.videochat import VideoChat
from vlcourse.recipes import RECIPES, Recipe, parts
from vlcourse.recipes.features import with_features
from vlcourse.teach.blip.experiments.cache import alone, each, kept, place
from vlcourse.teach.blip.experiments.score import Found, Scores
from vlcourse.weights.state import digest, weights_of

START, FIRST = "videochat-toy", "videochat-toy-stage1"
FRESH = ("gmhra", "clock")
SEEDS = (0, 1, 2)
FILMS_SEED = 0  # of the films, the same for all arms
TIMED_SEED = 10  # of the films that are asked when something was
SPLIT = "heldout"


@dataclass(frozen=True)
class Settings:
    """The numbers of an arm, the same for all arms of an experiment."""

    steps: int = 150
    """With which the trained model goes on."""
    first_steps: int = 150
    """Of a first stage, in videochat.stages."""
    second_steps: int = 250
    """Of the second stage after it."""
    batch_size: int = 16
    films: int = 3000
    """Training films."""
    rate: float = 1.0
    """Peak learning rate, in multiples of the recipe's."""
    per_kind: int = 60
    """Held-out questions of each kind, for an arm."""
    timed: int = 200
    """Held-out questions about seconds, about films as short and as long as the training's."""
    asked: int = 100
    """Held-out questions of each kind, for systems that are not trained."""


@dataclass(frozen=True)
class Arm:
    """In what an arm may differ; by default in nothing."""

    model: tuple[tuple[str, Any], ...] = ()
    gmhra: tuple[tuple[str, Any], ...] = ()
    frames: int = 0
    """Frames that it sees of a film, in training and afterwards; 0 takes the recipe's."""
    sentence: bool = False
    """Whether VideoChat's sentence about the frames stands before the questions."""


ALL = "all frames"
MIDDLE, POOLED = "middle frame", "mean of frames"
MEAN, NO_LOCAL = "token sees the mean", "no local"
ORDER, SENTENCE = "order", "order and sentence"
ARMS: dict[str, Arm] = {
    ALL: Arm(),
    MIDDLE: Arm(frames=1),
    POOLED: Arm(model=(("frames", "mean"),)),
    MEAN: Arm(gmhra=(("kind", "mean"),)),
    NO_LOCAL: Arm(gmhra=(("local", 0),)),
    ORDER: Arm(model=(("clock", "order"),)),
    SENTENCE: Arm(model=(("clock", "order"),), sentence=True),
}
ROOM = 110  # tokens of the sentence about ten frames, and some more


@dataclass(frozen=True)
class Sentenced(DialogueCollate):
    """Chats before which the sentence about the frames stands, in the toy's small letters."""

    def told(self, sample: dict[str, Any]) -> Dialogue:
        """As :meth:`DialogueCollate.told`, with the sentence after the queries."""
        found = super().told(sample)
        said = sampled(tuple(sample["seconds"])).lower()
        return Dialogue(found.before, ((said, False), *found.parts))


@lru_cache(maxsize=1)
def start() -> VideoChat:
    """The trained model that arms begin with."""
    return filmed.as_videochat(zoo.load(START))


def sized(name: str, settings: Settings, seed: int, steps: int) -> Recipe:
    """A recipe of the course with the numbers of an arm."""
    base, s = RECIPES[name], settings
    data: Any = base.data
    return replace(
        base,
        data=replace(data, n_train=s.films),
        train=replace(
            base.train, steps=steps, batch_size=s.batch_size, lr=s.rate * base.train.lr,
            warmup=min(base.train.warmup, max(1, steps // 4)), seed=seed,
        ),
        run=RunConfig(),
    )  # fmt: skip


def recipe_of(arm: Arm, settings: Settings, seed: int) -> Recipe:
    """An arm's run."""
    base = sized(START, settings, seed, settings.steps)
    model: Any = base.model
    data: Any = base.data
    more = {"frames": arm.frames} if arm.frames else {}
    return replace(
        base,
        model=replace(model, gmhra=replace(model.gmhra, **dict(arm.gmhra)), **dict(arm.model)),
        data=replace(data, context=data.context + (ROOM if arm.sentence else 0), **more),
    )


def collated(recipe: Recipe, sentence: bool, train: bool) -> VideoCollate:
    """A run's collate, with the sentence about the frames or without."""
    found: VideoCollate = recipe.collate(train)
    if not sentence:
        return found
    text = found.text
    own = Sentenced(text.tokenizer, text.context, text.template, text.end)
    return replace(found, text=own)


def begun(recipe: Recipe) -> VideoChat:
    """The model that an arm begins with: videochat-toy's weights, but for what is fresh."""
    torch.manual_seed(recipe.train.seed)
    model = filmed.as_videochat(recipe.build_model())
    fresh = {n: t for n, t in model.state_dict().items() if n.split(".")[0] in FRESH}
    known = {n: t for n, t in start().state_dict().items() if n.split(".")[0] not in FRESH}
    model.load_state_dict(fresh | known)
    for part in recipe.parts:
        if part.frozen:
            freeze(model.get_submodule(part.module))
    return model


def fit(name: str, key: Any, model: VideoChat, recipe: Recipe, sentence: bool) -> engine.Result:
    """Train a model as a recipe says; a run that was stopped goes on, a finished one is only read.

    Args:
        name, key: what the run is called in the cache, and all that it depends on.
        model: as it begins.
        recipe: data and training.
        sentence: whether the sentence about the frames is told.
    """
    films = replace(recipe, train=replace(recipe.train, seed=FILMS_SEED)).build_data("train")
    collate, folder = collated(recipe, sentence, train=True), paths.cache_dir("claims") / "films"
    with alone(folder):
        seen = with_features(model, films, collate, folder)
    out = place(name, key)
    run = RunConfig(log_every=max(1, recipe.train.steps // 20), save_every=200, keep=1)
    with alone(out):
        return engine.fit(
            model, seen, collate, recipe.train, run, out=out,
            frozen=parts.frozen(recipe, model), plot=False,
        )  # fmt: skip


def answered(model: VideoChat, recipe: Recipe, settings: Settings) -> dict[str, float]:
    """Held-out questions: each kind and "temporal" as :func:`vlcourse.evals.video.score` has them,
    and ``mean`` over all kinds, in which a second off counts as right."""
    data: Any = recipe.data
    asked = video.film_questions(SPLIT, settings.per_kind, data.kinds)
    answers = filmed.answers(model, recipe.collate(train=False), asked, count=data.frames)
    return with_mean(video.score(asked, answers), data.kinds)


def with_mean(found: dict[str, float], kinds: Sequence[str]) -> dict[str, float]:
    """With ``mean``, over kinds."""
    return found | {"mean": mean(found[video.near(kind)] for kind in kinds)}


def seconds_off(
    model: VideoChat, recipe: Recipe, sentence: bool, settings: Settings
) -> dict[str, float]:
    """How far answers about time are off, in seconds: "off", and "off 6" for films of six.

    An answer that names no time is off by the film's duration.
    """
    data: Any = recipe.data
    asked = video.film_questions(
        SPLIT, settings.timed, ("localisation",), data.seconds, TIMED_SEED, easy=True
    )
    collate = collated(recipe, sentence, train=False)
    return off(asked, filmed.answers(model, collate, asked, count=data.frames))


def off(asked: Sequence[video.Asked], answers: Sequence[str]) -> dict[str, float]:
    """Mean error of answers about time, over all and by duration of the films, in seconds."""
    errors: dict[str, list[float]] = {"off": []}
    for (script, question), answer in zip(asked, answers, strict=True):
        given, true = video.seconds_of(answer), question.seconds
        assert true is not None
        error = float(script.duration) if given is None else abs(given - true)
        errors["off"].append(error)
        errors.setdefault(f"off {script.duration}", []).append(error)
    return {name: mean(values) for name, values in errors.items()}


def losses(result: engine.Result) -> dict[str, float]:
    """The training loss on the way, "loss 15" and so on."""
    return {f"loss {row['step']}": row["loss"] for row in result.history}


def arm(name: str, seed: int, settings: Settings) -> Found:
    """What an arm can do: see `answered` and, of all that is told times, `seconds_off`."""
    kind, s = ARMS[name], settings
    recipe = recipe_of(kind, s, seed)
    key = [recipe.model, recipe.train, recipe.data, kind.sentence, digest(weights_of(start()))]

    def make() -> dict[str, float]:
        result = fit("videochat run", key, begun(recipe), recipe, kind.sentence)
        model = filmed.as_videochat(result.model)
        found = {} if kind.sentence else answered(model, recipe, s)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        aside = {"trained": float(trained), **losses(result)}
        return {**found, **seconds_off(model, recipe, kind.sentence, s), **aside}

    return kept("videochat arm", [*key, s.per_kind, s.timed], make)


def all_of(
    names: Sequence[str],
    seeds: Sequence[int],
    settings: Settings,
    function: Callable[[str, int, Settings], Found] = arm,
) -> Scores:
    """``function(name, seed, settings)`` of some arms, by name, seed by seed."""
    jobs = [(name, seed, settings) for seed in seeds for name in names]
    found = dict(zip((job[:2] for job in jobs), each(function, jobs), strict=True))
    return {name: [found[name, seed] for seed in seeds] for name in names}
