"""What BLIP's experiments train: small arms on the frozen tower of clip-toy-grid.

The tower looks at each training picture once, before the training; what learns is all else: the
MED, its heads, and the position of each of the picture's tokens. So an arm takes some three minutes
of one core. It is the same for all arms: what a picture shows is known to each from the start, and
the arms differ in what they learn of texts and of how the two belong together.

Every arm is kept in the cache, its run and its numbers, so that an experiment that was stopped goes
on. ``VLCOURSE_PROCESSES=2`` trains two arms side by side, with one thread each.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, is_dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import engine, files, paths, zoo
from vlcourse.data.collate.pictures import normalise
from vlcourse.data.world import World
from vlcourse.engine.config import NonFiniteLoss, RunConfig, TrainConfig
from vlcourse.layers.frozen import freeze
from vlcourse.models.blip import BLIP, TASKS, BLIPConfig
from vlcourse.models.clip import CLIP
from vlcourse.models.resnet import ResNet
from vlcourse.recipes.blip import TOY_BLIP
from vlcourse.tokenizers import med

EMBED, TOKENS = TOY_BLIP.embed, 16
TUNING_SEED = 100  # of weights and pictures that no arm has


@dataclass(frozen=True)
class Settings:
    """The numbers of an arm, the same for all arms of an experiment."""

    steps: int = 800
    batch_size: int = 64
    pictures: int = 12_000
    """Training pictures; each comes several times."""
    objects: tuple[int, int] = (1, 2)
    """Least and greatest number of objects of a scene."""
    width: int = 96
    layers: int = 2
    heads: int = 4
    context: int = 40
    """Tokens of a training text; longer ones are cut. No true caption is."""
    queue: int = 1024
    rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    """Learning rates to choose from, by `tuned`."""
    tuning_steps: int = 300
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

    def _itm(self, feature: Tensor, text: Tensor, *rest: Any) -> Tensor:
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
    model: BLIP, data: Pairs, train_config: TrainConfig, context: int, out: Path | None = None
) -> BLIP:
    """Train on pairs of which the pictures were seen already; the model then has the tower.

    With ``out`` the run goes on from there; one that was finished is only read.
    """
    only_rows(model)
    run = RunConfig(log_every=50, save_every=250, keep=1)
    trained = engine.fit(
        model, data, partial(collate, context=context), train_config, run, out=out, plot=False
    ).model
    assert isinstance(trained, BLIP)
    trained.image = tower()
    return trained.eval()


def only_rows(model: BLIP) -> None:
    """From now on the model looks at rows of `look` instead of pictures."""
    for part in (model, model.twin):
        if part is not None:
            part.add_module("image", Seen())


def begun(model: BLIP, tasks: tuple[str, ...]) -> BLIP:
    """A copy of a pretrained model, to be fine-tuned for some of its tasks."""
    return replace(model.config, tasks=tasks).adopt(copy.deepcopy(model))


def pretrain_config(settings: Settings, lr: float, seed: int, steps: int = 0) -> TrainConfig:
    """How an arm is trained; ``steps``: fewer than the settings'."""
    steps = steps or settings.steps
    return TrainConfig(
        steps=steps, batch_size=settings.batch_size, lr=lr, warmup=min(100, steps // 4), seed=seed
    )


def trained(
    name: str,
    arm: Arm,
    data: Callable[[], Pairs],
    lr: float,
    seed: int,
    settings: Settings,
    rest: Any = None,
) -> BLIP:
    """An arm's model, trained now or read from the cache; ``rest``: what its data depend on."""
    how = pretrain_config(settings, lr, seed)
    out = place(name, [settings, arm, how, rest])
    return train(build(settings, arm, seed), data(), how, settings.context, out)


def tuned(
    name: str, arm: Arm, data: Callable[[int], Pairs], settings: Settings, rest: Any = None
) -> dict[float, float]:
    """The loss on clean validation pairs at each learning rate, after a shorter training.

    Each arm's rates are compared among themselves: one arm's loss says nothing about another's.
    A training that ends in NaN counts as infinite.

    Args:
        name: of the arm.
        arm: what is trained.
        data: training pairs of a seed.
        settings: the rates, and the steps.
        rest: what else the data depend on.
    """
    s = settings

    def loss(lr: float) -> float:
        how = pretrain_config(s, lr, TUNING_SEED, s.tuning_steps)
        try:
            model = train(build(s, arm, TUNING_SEED), data(TUNING_SEED), how, s.context)
        except NonFiniteLoss:
            return math.inf
        only_rows(model)
        test = clean(max(512, s.batch_size), 0, s.objects, "val")
        into = partial(collate, context=s.context)
        return sum(engine.evaluate_loss(model, test, into, s.batch_size).values())

    return {lr: kept(f"{name} rate", [s, arm, lr, rest], partial(loss, lr)) for lr in s.rates}


def best_rate(found: dict[float, float]) -> float:
    """The learning rate with the lowest loss."""
    return min(found, key=lambda lr: found[lr])


def place(name: str, key: Any) -> Path:
    """Where the cache keeps what is known by a name and by all that it depends on."""

    def plain(value: Any) -> Any:
        assert is_dataclass(value) and not isinstance(value, type)
        return asdict(value)

    text = json.dumps(key, sort_keys=True, default=plain)
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return paths.cache_dir("claims") / f"{name.replace(' ', '-')}-{digest}"


def kept(name: str, key: Any, make: Callable[[], Any]) -> Any:
    """What ``make()`` returned the first time, through JSON; made now if the cache has it not."""
    folder = place(name, key)
    path = folder.with_name(f"{folder.name}.json")
    if not path.is_file():
        files.write_json(path, make())
    return json.loads(path.read_text("utf-8"))


def each(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """``function(*a)`` for each, in as many processes as VLCOURSE_PROCESSES says (default 1)."""
    processes = min(int(os.environ.get("VLCOURSE_PROCESSES", "1")), len(arguments))
    if processes < 2:
        return [function(*a) for a in arguments]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        return [future.result() for future in [pool.submit(function, *a) for a in arguments]]
