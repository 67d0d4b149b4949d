"""CapFilt on the toy web, whose truth is known: from noisy texts to models trained on clean ones.

One MED is pretrained on the web's texts. From it come a captioner and a filter, each fine-tuned on
a small clean set; they make the data sets of `WAYS`, on each of which a model is pretrained from
nothing, with as many steps. The image tower is clip-toy-grid's, which knows clean texts: what is
measured is what noise does to the text side.

As in the paper's tables, each model is also judged after fine-tuning on the clean set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlcourse.data.world import Scene
from vlcourse.data.world.web import WebWorld
from vlcourse.engine.config import TrainConfig
from vlcourse.evals import captions
from vlcourse.jobs.blip import BLIPCaptioner, BLIPJudge
from vlcourse.models.blip import TASKS, BLIP
from vlcourse.teach.blip.experiments import arms
from vlcourse.teach.blip.experiments.score import score
from vlcourse.tokenizers import med

THRESHOLD = 0.5
CLEAN_SEED = 50  # the clean set is of scenes that no web data set has


@dataclass(frozen=True)
class Settings:
    """The numbers of the experiment."""

    arm: arms.Settings = field(default_factory=arms.Settings)
    """Of each pretraining; its pictures are the web's."""
    rate: float = 0.6
    """Share of the texts that the web does something to; one in six of these stays true (half)."""
    clean: int = 1500
    """Pictures of the clean set."""
    fine_steps: int = 200
    fine_lr: float = 5e-4
    beams: int = 3


class Way(NamedTuple):
    """How a data set is made of the web's."""

    web: str
    """Which of the web's texts: "all", "kept" (by the filter) or "none"."""
    synthetic: str
    """Which of the captioner's texts, likewise."""
    beam: bool = False
    """Captions by beam search, not drawn from the nucleus."""
    shared: bool = False
    """Captioner and filter are one model, fine-tuned for all tasks at once."""


WAYS: dict[str, Way] = {
    "web": Way("all", "none"),
    "filter": Way("kept", "none"),
    "captioner": Way("all", "all"),
    "both": Way("kept", "kept"),
    "beam": Way("kept", "kept", beam=True),
    "shared": Way("kept", "kept", shared=True),
}

Texts = Mapping[str, list[Any]]  # "text", "true" and "score", in the order of the pictures


@dataclass(frozen=True)
class Web:
    """The web of a seed, its pictures seen by the tower already."""

    rows: Tensor
    images: Tensor
    scenes: Sequence[Scene]
    texts: Sequence[str]
    kinds: Sequence[str]
    true: Sequence[bool]

    def pairs(self) -> arms.Pairs:
        """All of the web's texts with their pictures."""
        return arms.Pairs(self.rows, self.texts, range(len(self.texts)))


@lru_cache(maxsize=1)
def web(seed: int, settings: Settings) -> Web:
    """The web's pictures and texts."""
    s = settings.arm
    world = WebWorld("train", s.pictures, objects=s.objects, seed=seed, rate=settings.rate)
    rows, images, samples = [], [], []
    for start in range(0, s.pictures, 1000):
        part = world.__getitems__(range(start, min(start + 1000, s.pictures)))
        images.append(torch.stack([sample["image"] for sample in part]))
        rows.append(arms.look(images[-1]))
        samples += [{k: v for k, v in sample.items() if k != "image"} for sample in part]
    return Web(
        torch.cat(rows),
        torch.cat(images),
        [sample["scene"] for sample in samples],
        [str(sample["caption"]) for sample in samples],
        [sample["kind"] for sample in samples],
        [sample["is_clean"] for sample in samples],
    )


def rate_of(settings: Settings) -> float:
    """The learning rate of all ways: the one that suits the noisy baseline best."""
    s = settings
    found = arms.tuned("capfilt", arms.Arm(), lambda seed: web(seed, s).pairs(), s.arm, s.rate)
    return arms.best_rate(found)


def pretrained(way: str, seed: int, settings: Settings) -> BLIP:
    """A model pretrained from nothing on a way's data set."""
    rate, data = rate_of(settings), lambda: dataset(way, seed, settings)
    return arms.trained(
        f"capfilt {way}", arms.Arm(), data, rate, seed, settings.arm, rest=[settings, way]
    )


def fine_tuned(way: str, tasks: tuple[str, ...], seed: int, settings: Settings) -> BLIP:
    """A way's model, trained on for some tasks on the clean set."""
    s = settings
    how = TrainConfig(
        steps=s.fine_steps, batch_size=s.arm.batch_size, lr=s.fine_lr,
        warmup=s.fine_steps // 10, seed=seed,
    )  # fmt: skip
    return arms.train(
        arms.begun(pretrained(way, seed, s), tasks),
        arms.clean(s.clean, CLEAN_SEED + seed, s.arm.objects),
        how,
        s.arm.context,
        arms.place(f"capfilt {way} {' '.join(tasks)}", [s, way, tasks, how]),
    )


def judge_of(seed: int, settings: Settings, shared: bool = False) -> BLIPJudge:
    """The filter of a seed."""
    return BLIPJudge(fine_tuned("web", TASKS if shared else READS, seed, settings), med.toy())


READS, WRITES = ("itc", "itm"), ("lm",)


def judged_web(seed: int, settings: Settings, shared: bool = False) -> Texts:
    """The web's texts with their scores."""

    def make() -> Texts:
        found = web(seed, settings)
        scores = scored(judge_of(seed, settings, shared), found.images, found.texts)
        return {"text": list(found.texts), "true": list(found.true), "score": scores}

    return arms.kept("capfilt web", [settings, seed, shared], make)


def written(way: str, seed: int, settings: Settings) -> Texts:
    """The captioner's texts for the web's pictures, with the truth and the filter's scores."""
    _, _, beam, shared = WAYS[way]

    def make() -> Texts:
        found = web(seed, settings)
        model = fine_tuned("web", TASKS if shared else WRITES, seed, settings)
        writer = BLIPCaptioner(model, med.toy(), settings.beams if beam else 0)
        texts: list[str] = []
        for chunk in found.images.split(250):
            numbers = [seed * 1_000_000 + len(texts) + i for i in range(len(chunk))]
            texts += writer.caption(list(chunk), numbers)
        true = captions.judge(texts, found.scenes)["true"].bool().tolist()
        scores = scored(judge_of(seed, settings, shared), found.images, texts)
        return {"text": texts, "true": true, "score": scores}

    return arms.kept("capfilt captions", [settings, seed, beam, shared], make)


def scored(judge: BLIPJudge, images: Tensor, texts: Sequence[str]) -> list[float]:
    """The filter's probability that each text is true of its picture."""
    scores: list[float] = []
    for chunk in images.split(250):
        scores += judge.score(list(chunk), list(texts[len(scores) :][: len(chunk)])).tolist()
    return [round(score, 5) for score in scores]


def dataset(way: str, seed: int, settings: Settings) -> arms.Pairs:
    """The pairs that a way's model is pretrained on."""
    of_web, of_synthetic, _, shared = WAYS[way]
    found = web(seed, settings)
    if of_web == "all" and of_synthetic == "none":
        return found.pairs()
    texts: list[str] = []
    pictures: list[int] = []
    for which, sources in (
        (of_web, lambda: judged_web(seed, settings, shared)),
        (of_synthetic, lambda: written(way, seed, settings)),
    ):
        if which == "none":
            continue
        table = sources()
        for picture, (text, points) in enumerate(zip(table["text"], table["score"], strict=True)):
            if text and (which == "all" or points > THRESHOLD):
                texts.append(text)
                pictures.append(picture)
    return arms.Pairs(found.rows, texts, pictures)


def arm(way: str, seed: int, settings: Settings) -> dict[str, float]:
    """What a way's model can do: see `score`; and the same "fine-tuned", and its data set's pairs.

    Retrieval is of the model fine-tuned for it, captions are of the one fine-tuned for them.
    """

    def make() -> dict[str, float]:
        found = score(pretrained(way, seed, settings), settings.arm)
        for tasks in (READS, WRITES):
            better = score(fine_tuned(way, tasks, seed, settings), settings.arm)
            found |= {f"{name}, fine-tuned": value for name, value in better.items()}
        return {**found, "pairs": float(len(dataset(way, seed, settings)))}

    return arms.kept(f"capfilt {way}", [settings, way, seed, rate_of(settings)], make)


def chain(seed: int, settings: Settings, ways: Sequence[str]) -> dict[str, dict[str, float]]:
    """The arms of one seed, one after the other."""
    return {way: arm(way, seed, settings) for way in ways}


def chains(
    seeds: Sequence[int], settings: Settings, ways: Sequence[str]
) -> dict[str, list[dict[str, float]]]:
    """The arms of all seeds, by way."""
    rate_of(settings)  # once, before several processes would
    found = arms.each(chain, [(seed, settings, tuple(ways)) for seed in seeds])
    return {way: [each[way] for each in found] for way in ways}
