"""What BLIP's experiments train: small arms on the frozen tower of clip-toy-grid.

The tower looks at each training picture once, before the training; what learns is all else: the
MED, its heads, and the position of each of the picture's tokens. So an arm takes some three minutes
of one core. It is the same for all arms: what a picture shows is known to each from the start, and
the arms differ in what they learn of texts and of how the two belong together.

Every arm is kept (:mod:`vlcourse.teach.blip.experiments.cache`), its run and its numbers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import engine, zoo
from vlcourse.data.collate.pictures import normalise
from vlcourse.data.world import World
from vlcourse.engine.checkpoint import checkpoints, load_weights
from vlcourse.engine.config import NonFiniteLoss, RunConfig, TrainConfig
from vlcourse.layers.frozen import freeze
from vlcourse.models.blip import BLIP, TASKS, BLIPConfig
from vlcourse.models.clip import CLIP
from vlcourse.models.resnet import ResNet
from vlcourse.recipes.blip import TOY_BLIP
from vlcourse.teach.blip.experiments.cache import alone, each, kept, place
from vlcourse.tokenizers import med

EMBED, TOKENS = TOY_BLIP.embed, 16
TUNING_SEED = 100  # of weights and pictures that no arm has


@dataclass(frozen=True)
class Settings:
    """The numbers of an arm, the same for all arms of an experiment."""

    steps: int = 300
    batch_size: int = 64
    pictures: int = 8_000
    """Training pictures; each comes several times."""
    objects: tuple[int, int] = (1, 2)
    """Least and greatest number of objects of a scene."""
    width: int = 96
    layers: int = 2
    heads: int = 4
    context: int = 40
    """Tokens of a training text; longer ones are cut. No true caption is."""
    queue: int = 1024
    lr: float = 0.0
    """Learning rate of all arms; 0: the best of ``rates`` after ``tuning_steps``."""
    rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    tuning_steps: int = 150
    pairs: int = 256
    """Test pictures for retrieval."""
    scenes: int = 400
    """Test scenes for foils, and for captions."""


@dataclass(frozen=True)
class Arm:
    """In what an arm may differ; by default in nothing."""

    sharing: str = "all-but-sa"
    tasks: tuple[str, ...] = TASKS
    random: bool = False
    """Draw the wrong texts and pictures of the ITM from the batch, all as likely."""


class RandomNegatives(BLIP):
    """A BLIP whose negatives are drawn without looking: nothing is more similar than the rest."""

    def _itm(self, feature: Tensor, text: Tensor, *rest: Any) -> dict[str, Tensor]:
        return super()._itm(torch.zeros_like(feature), torch.zeros_like(text), *rest)


class Seen(nn.Module):
    """In the place of the tower: it takes apart what the tower saw before the training."""

    def forward(self, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, embed + 16 · C) rows of `look` → (B, embed), and tokens (B, 16, C)."""
        return rows[:, :EMBED], {"tokens": rows[:, EMBED:].unflatten(1, (TOKENS, -1))}


@dataclass(frozen=True)
class Pairs:
    """Training pairs: text i belongs to picture ``pictures[i]``, a row of ``rows``."""

    rows: Tensor
    texts: Sequence[str]
    pictures: Sequence[int]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[self.pictures[index]]
        return {"id": f"pair {index}", "row": row, "text": self.texts[index]}


def collate(samples: Sequence[dict[str, Any]], context: int, generator: Any = None) -> Any:
    """Pairs → BLIP's batch, whose "pixels" are rows for `Seen`."""
    tokens, mask = med.toy()([sample["text"] for sample in samples], context, truncate=True)
    rows = torch.stack([sample["row"] for sample in samples]).float()
    ids = [sample["id"] for sample in samples]
    return {"pixels": rows, "tokens": tokens, "mask": mask, "ids": ids}


@lru_cache(maxsize=1)
def tower() -> ResNet:
    """clip-toy-grid's image tower, frozen."""
    clip = zoo.load("clip-toy-grid")
    assert isinstance(clip, CLIP) and isinstance(clip.image, ResNet)
    freeze(clip.image)
    return clip.image


@torch.no_grad()
def look(images: Tensor, batch_size: int = 250) -> Tensor:
    """What the tower sees: uint8 (N, 3, S, S) → float16 (N, embed + 16 · C), a row a picture."""
    rows = []
    for chunk in images.split(batch_size):
        feature, seen = tower()(normalise(chunk))
        rows.append(torch.cat([feature, seen["tokens"].flatten(1)], dim=1).half())
    return torch.cat(rows)


@lru_cache(maxsize=2)
def clean(n: int, seed: int, objects: tuple[int, int], split: str = "train") -> Pairs:
    """Pictures of the toy world with a true caption each."""
    world = World(split, n, objects=objects, seed=seed)
    rows, texts = [], []
    for start in range(0, n, 1000):
        samples = world.__getitems__(range(start, min(start + 1000, n)))
        rows.append(look(torch.stack([sample["image"] for sample in samples])))
        texts += [str(sample["caption"]) for sample in samples]
    return Pairs(torch.cat(rows), texts, range(n))


def config(settings: Settings, arm: Arm | None = None) -> BLIPConfig:
    """The shape of an arm: the toy BLIP with a smaller text model."""
    s, arm = settings, arm or Arm()
    text = replace(
        TOY_BLIP.text, width=s.width, layers=s.layers, heads=s.heads,
        sharing=arm.sharing,  # type: ignore[arg-type]
    )  # fmt: skip
    return replace(TOY_BLIP, text=text, tasks=arm.tasks, queue=s.queue, alpha_steps=s.steps // 3)


def build(settings: Settings, arm: Arm, seed: int) -> BLIP:
    """A fresh model of an arm."""
    torch.manual_seed(seed)
    kind = RandomNegatives if arm.random else BLIP
    return kind(config(settings, arm))


def train(
    model: BLIP,
    data: Callable[[], Pairs],
    how: TrainConfig,
    context: int,
    out: Path | None = None,
) -> BLIP:
    """Train on pairs of which the pictures were seen already; the model then has the tower.

    Args:
        model: as it begins.
        data: makes the pairs; called only where there is something left to train.
        how: the training.
        context: tokens of a text.
        out: a run's folder: the run goes on from there, and one that was finished is only read. A
            second process that wants the same run waits for the first.
    """
    only_rows(model)
    run = RunConfig(log_every=50, save_every=250 if out else 0, keep=1)
    into = partial(collate, context=context)
    with alone(out) if out else nullcontext():
        if out and any(step == how.steps for step, _ in checkpoints(out)):
            load_weights(model, out)
        else:
            engine.fit(model, data(), into, how, run, out=out, plot=False)
    model.image = tower()
    return model.eval()


def only_rows(model: BLIP) -> None:
    """From now on the model looks at rows of `look` instead of pictures."""
    for part in (model, model.twin):
        if part is not None:
            part.add_module("image", Seen())


def begun(model: BLIP, tasks: tuple[str, ...]) -> BLIP:
    """A copy of a pretrained model, to be fine-tuned for some of its tasks."""
    return replace(model.config, tasks=tasks).adopt(copy.deepcopy(model))


def pretrain_config(settings: Settings, seed: int) -> TrainConfig:
    """How an arm is trained."""
    s, warmup = settings, min(100, settings.steps // 4)
    return TrainConfig(steps=s.steps, batch_size=s.batch_size, lr=s.lr, warmup=warmup, seed=seed)


def key(settings: Settings, arm: Arm, how: TrainConfig, rest: Any = None) -> list[Any]:
    """All that a training from nothing depends on. ``rest``: what its data depend on besides."""
    s = settings
    return [config(s, arm), arm.random, how, s.pictures, s.objects, s.context, rest]


def trained(
    name: str,
    arm: Arm,
    data: Callable[[], Pairs],
    seed: int,
    settings: Settings,
) -> BLIP:
    """An arm's model, trained now or read from the cache."""
    how = pretrain_config(settings, seed)
    out = place(name, key(settings, arm, how))
    return train(build(settings, arm, seed), data, how, settings.context, out)


def loss_at(
    lr: float, name: str, arm: Arm, data: Callable[[], Pairs], settings: Settings, rest: Any = None
) -> float:
    """The loss on clean validation pairs after a short training at a learning rate.

    A training that ends in NaN counts as infinite. ``data`` are those of :data:`TUNING_SEED`.
    """
    # With the steps α's ramp is shorter, too.
    s = replace(settings, steps=settings.tuning_steps, lr=lr)
    how = pretrain_config(s, TUNING_SEED)

    def make() -> float:
        try:
            model = train(build(s, arm, TUNING_SEED), data, how, s.context)
        except NonFiniteLoss:
            return math.inf
        only_rows(model)
        test = clean(max(512, s.batch_size), 0, s.objects, "val")
        into = partial(collate, context=s.context)
        return sum(engine.evaluate_loss(model, test, into, s.batch_size).values())

    return kept(f"{name} rate", key(s, arm, how, rest), make)


def with_rate(settings: Settings, loss: Callable[..., float], *rest: Any) -> Settings:
    """The settings with the learning rate at which ``loss(lr, settings, *rest)`` is least."""
    if settings.lr:
        return settings
    found = each(loss, [(lr, settings, *rest) for lr in settings.rates])
    return replace(settings, lr=settings.rates[found.index(min(found))])
