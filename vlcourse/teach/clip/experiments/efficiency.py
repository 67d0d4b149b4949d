"""clip.efficiency: how many images three objectives need for the same zero-shot accuracy."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlcourse import VlcourseError
from vlcourse.data import world
from vlcourse.data.world.words import hash64
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import metrics
from vlcourse.recipes.clip import TOY_RESNET, TOY_TEXT
from vlcourse.teach.clip.experiments import arms
from vlcourse.teach.clip.experiments.objectives import (
    BagContrastive,
    BagOfWords,
    LanguageModel,
    Objective,
)
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers.byte_bpe import toy

EMBED = 128
ARMS: dict[str, type[Objective]] = {
    "language model": LanguageModel,
    "bag of words": BagOfWords,
    "contrastive": BagContrastive,
}
FASTER_FIRST = ("contrastive", "bag of words", "language model")


class NoisyWorld:
    """The toy world with the captions of the web: many ways to say it, and some of them wrong.

    A share ``noise`` of the pictures has the caption of another one.
    """

    def __init__(self, n: int, size: int, seed: int, noise: float = 0.2) -> None:
        self.world = world.World("train", n, size, seed=seed)
        self.seed, self.noise = seed, noise

    def __len__(self) -> int:
        return len(self.world)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Samples; "wrong" says whose caption is not its own."""
        samples = self.world.__getitems__(indices)
        coins = hash64(self.seed, 61, np.asarray(indices)) % np.uint64(1000)
        for i, coin, sample in zip(indices, coins, samples, strict=True):
            sample["wrong"] = bool(coin < 1000 * self.noise)
            if sample["wrong"]:
                other = self.world.scenes([(i + len(self) // 2) % len(self)])[0]
                sample["caption"] = other.caption()
        return samples


@dataclass(frozen=True)
class Settings:
    """The experiment's numbers, the same for all arms."""

    threshold: float = 0.5
    steps: int = 640
    tuning_steps: int = 120
    rates: tuple[float, ...] = (5e-4, 1e-3, 2e-3)
    batch_size: int = 128
    every: int = 10
    items: int = 200
    noise: float = 0.2


class _Reached(VlcourseError):
    """The accuracy was reached: nothing more is to be learned from this run."""


class _Curve:
    """An evaluation that keeps (images seen, accuracy), and ends the run a little above the goal.

    A run counts as there at the first of two evaluations in a row above the threshold.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.images, labels = arms.seen_pictures("test", settings.items, TOY_RESNET.image_size)
        self.labels = labels
        self.prompts = toy()(arms.OneObject.classes)
        self.points: list[tuple[int, float]] = []

    def __call__(self, model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Objective)

        def scores(pixels: Tensor) -> Tensor:
            return model.scores(pixels, self.prompts)

        scored = arms.in_batches(scores, self.images, size=50)
        accuracy = metrics.accuracy(scored, self.labels)
        seen = (len(self.points) + 1) * self.settings.every * self.settings.batch_size
        self.points.append((seen, accuracy))
        if self.reached() is not None:
            raise _Reached
        return {"accuracy": accuracy}

    def reached(self) -> float | None:
        """Images seen when the accuracy crossed the threshold (interpolated), or None."""
        goal, before = self.settings.threshold, (0, 1 / len(world.SEEN))
        for here, after in zip(self.points, self.points[1:], strict=False):
            if here[1] >= goal and after[1] >= goal:
                share = (goal - before[1]) / (here[1] - before[1]) if before[1] < goal else 1.0
                return before[0] + share * (here[0] - before[0])
            before = here
        return None


def train(
    arm: str,
    lr: float,
    seed: int,
    steps: int,
    settings: Settings,
    curve: _Curve | None = None,
) -> float:
    """Train one arm, its ``curve`` watching; the training loss of the last quarter of the steps."""
    torch.manual_seed(seed)
    size = TOY_RESNET.image_size
    config = TrainConfig(
        steps=steps, batch_size=settings.batch_size, lr=lr, warmup=min(40, steps), min_lr=1.0,
        seed=seed,
    )  # fmt: skip
    data = NoisyWorld(steps * settings.batch_size, size, seed, settings.noise)
    model = ARMS[arm](TOY_RESNET, TOY_TEXT, EMBED)
    run = RunConfig(eval_every=settings.every if curve else 0, log_every=1)
    history = arms.train(model, data, arms.text_collate(size), config, run, curve).history
    last = [row["loss"] for row in history[-max(1, steps // 4) :]]
    return sum(last) / len(last)


def watch(arm: str, lr: float, seed: int, settings: Settings) -> _Curve:
    """Train one arm until it is there, or its steps are used up; its curve."""
    curve = _Curve(settings)
    with contextlib.suppress(_Reached):
        train(arm, lr, seed, settings.steps, settings, curve)
    return curve


def efficiency(seeds: Sequence[int] = (0, 1, 2), settings: Settings | None = None) -> Measurement:
    """Tune each arm's learning rate in short runs, then count images to the threshold.

    All arms share tower, data, batch, warm-up, a constant learning rate (so that the budget does
    not enter) and the same rates to choose from; the one with the lowest training loss at the end
    of a short run with another seed is taken.

    Args:
        seeds: of weights and data; three or more.
        settings: the numbers of the experiment.

    Returns:
        Geometric mean over the seeds of images(bag of words) / images(contrastive), and in
        ``others`` that of language model / bag of words. The intervals are Student's t on the
        logarithms. A run that never gets there counts as if it did at its last image, which makes
        it a lower bound; "censored" counts such runs, "censored fastest" those of arms that the
        claim says are the faster ones.
    """
    s = settings or Settings()
    tuned: dict[str, float] = {}
    trials: dict[str, dict[str, float]] = {}
    for arm in ARMS:
        loss = {lr: train(arm, lr, 1000, s.tuning_steps, s) for lr in s.rates}
        tuned[arm] = min(loss, key=lambda lr: loss[lr])
        trials[arm] = {f"{lr:g}": value for lr, value in loss.items()}
    images: dict[str, list[float]] = {}
    curves: dict[str, list[list[tuple[int, float]]]] = {}
    censored: dict[str, int] = {}
    for arm in FASTER_FIRST:
        found = [watch(arm, tuned[arm], seed, s) for seed in seeds]
        reached = [curve.reached() for curve in found]
        images[arm] = [float(s.steps * s.batch_size) if r is None else r for r in reached]
        censored[arm] = sum(r is None for r in reached)
        curves[arm] = [curve.points for curve in found]
    ours = _ratio(images["bag of words"], images["contrastive"])
    theirs = _ratio(images["language model"], images["bag of words"])
    return Measurement(
        measured=ours[0],
        low=ours[1],
        high=ours[2],
        seeds=tuple(seeds),
        recipe={
            "settings": asdict(s),
            "image": asdict(TOY_RESNET),
            "text": asdict(TOY_TEXT),
            "lr": tuned,
        },
        others={
            "language model": theirs[0],
            "language model low": theirs[1],
            "language model high": theirs[2],
            "censored": float(sum(censored.values())),
            "censored fastest": float(censored["contrastive"]),
            **{f"{arm} images": sum(v) / len(v) for arm, v in images.items()},
        },
        figure={
            "accuracy by images seen": curves,
            "images": images,
            "censored": censored,
            "loss by learning rate": trials,
            "threshold": s.threshold,
        },
    )


def _ratio(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of slow / fast over the seeds, with its interval."""
    logs = [math.log(a / b) for a, b in zip(slow, fast, strict=True)]
    low, high = metrics.seed_interval(logs)
    return math.exp(sum(logs) / len(logs)), math.exp(low), math.exp(high)
