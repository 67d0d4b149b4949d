"""CapFilt on the toy web, whose truth is known: from noisy texts to models trained on clean ones.

One MED is pretrained on the web's texts. From it come a captioner and a filter, each fine-tuned on
a small clean set; they make the data sets of `WAYS`, on each of which a model is pretrained from
nothing, with as many steps. The image tower is clip-toy-grid's, which knows clean texts: what is
measured is what noise does to the text side.

As in the paper's tables, each model is also judged after fine-tuning on the clean set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlcourse.data.world import Scene
from vlcourse.data.world.read import read
from vlcourse.data.world.web import WebWorld
from vlcourse.engine.config import TrainConfig
from vlcourse.generate import search
from vlcourse.jobs import blip
from vlcourse.models.blip import BLIP, TASKS
from vlcourse.teach.blip.experiments import arms, cache
from vlcourse.teach.blip.experiments.score import score
from vlcourse.tokenizers import med

BATCH = 500  # pictures at a time, of those that are only looked at
CLEAN_SEED = 50  # the clean set is of scenes that no web data set has


@dataclass(frozen=True)
class Settings:
    """The numbers of the experiment."""

    arm: arms.Settings = field(default_factory=arms.Settings)
    """Of each pretraining; its pictures are the web's."""
    rate: float = 0.6
    """Share of the texts that the web does something to; one in six of these stays true (half)."""
    clean: int = 1000
    """Pictures of the clean set."""
    fine_steps: int = 100
    fine_lr: float = 5e-4
    threshold: float = 0.5
    """The filter keeps texts that are more probable."""
    beams: int = 3
    longest: int = 24
    """Tokens of a synthetic text; the longest true caption of two objects has 19."""


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
    scenes: Sequence[Scene]
    texts: Sequence[str]
    true: Sequence[bool]

    def pairs(self) -> arms.Pairs:
        """All of the web's texts with their pictures."""
        return arms.Pairs(self.rows, self.texts, range(len(self.texts)))


@lru_cache(maxsize=1)
def web(seed: int, settings: Settings) -> Web:
    """The web's pictures and texts."""
    s = settings.arm
    world = WebWorld("train", s.pictures, objects=s.objects, seed=seed, rate=settings.rate)
    rows, scenes, texts, true = [], [], [], []
    for start in range(0, s.pictures, 1000):
        part = world.__getitems__(range(start, min(start + 1000, s.pictures)))
        rows.append(arms.look(torch.stack([sample["image"] for sample in part])))
        scenes += [sample["scene"] for sample in part]
        texts += [str(sample["caption"]) for sample in part]
        true += [sample["is_clean"] for sample in part]
    return Web(torch.cat(rows), scenes, texts, true)


def with_rate(settings: Settings) -> Settings:
    """The learning rate of all ways is the one that suits the noisy baseline best."""
    found = arms.with_rate(settings.arm, loss_at, replace(settings, arm=arms.Settings()))
    return replace(settings, arm=found)


def loss_at(lr: float, arm: arms.Settings, settings: Settings) -> float:
    """The loss of a model of the noisy web at a learning rate."""
    s = replace(settings, arm=arm)
    data = lambda: web(arms.TUNING_SEED, s).pairs()  # noqa: E731
    return arms.loss_at(lr, "capfilt", arms.Arm(), data, arm, [s.rate])


def key(way: str, seed: int, settings: Settings) -> list[Any]:
    """All that a way's pretraining depends on; but for "web" that is also what made its data."""
    s, (_, synthetic, beam, _) = settings, WAYS[way]
    rest: list[Any] = [s.rate]
    if way != "web":
        rest += [WAYS[way], s.threshold, fine(s)]
    if synthetic != "none":
        rest += [s.longest, s.beams if beam else 0]
    return arms.key(s.arm, arms.Arm(), arms.pretrain_config(s.arm, seed), rest)


def fine(settings: Settings) -> list[Any]:
    """What fine-tuning depends on, besides the model and the seed."""
    return [settings.clean, settings.fine_steps, settings.fine_lr]


def pretrained(way: str, seed: int, settings: Settings) -> BLIP:
    """A model pretrained from nothing on a way's data set."""
    s, how = settings.arm, arms.pretrain_config(settings.arm, seed)
    out = cache.place(f"capfilt {way}", key(way, seed, settings))
    model = arms.build(s, arms.Arm(), seed)
    return arms.train(model, lambda: dataset(way, seed, settings), how, s.context, out)


def fine_tuned(way: str, tasks: tuple[str, ...], seed: int, settings: Settings) -> BLIP:
    """A way's model, trained on for some tasks on the clean set."""
    s, steps = settings, settings.fine_steps
    how = TrainConfig(
        steps=steps, batch_size=s.arm.batch_size, lr=s.fine_lr, warmup=steps // 10, seed=seed
    )
    out = cache.place(f"capfilt {way} {' '.join(tasks)}", [key(way, seed, s), tasks, fine(s)])
    model = arms.begun(pretrained(way, seed, s), tasks)
    data = partial(arms.clean, s.clean, CLEAN_SEED + seed, s.arm.objects)
    return arms.train(model, data, how, s.arm.context, out)


READS, WRITES = ("itc", "itm"), ("lm",)


def judged_web(seed: int, settings: Settings, shared: bool = False) -> Texts:
    """The web's texts with their scores."""
    s = settings

    def make() -> Texts:
        found = web(seed, s)
        scores = scored(fine_tuned("web", TASKS if shared else READS, seed, s), found, found.texts)
        return {"text": list(found.texts), "true": list(found.true), "score": scores}

    return cache.kept("capfilt web texts", [key("web", seed, s), fine(s), shared], make)


def written(way: str, seed: int, settings: Settings) -> Texts:
    """The captioner's texts for the web's pictures, with the truth and the filter's scores."""
    s, (_, _, beam, shared) = settings, WAYS[way]
    beams = s.beams if beam else 0

    def make() -> Texts:
        found = web(seed, s)
        captioner = fine_tuned("web", TASKS if shared else WRITES, seed, s)
        texts = captioned(captioner, found, seed, s.longest, beams)
        said = [read(text) for text in texts]
        true = [c is not None and v.is_true(c) for c, v in zip(said, found.scenes, strict=True)]
        judge = fine_tuned("web", TASKS if shared else READS, seed, s)
        return {"text": texts, "true": true, "score": scored(judge, found, texts)}

    return cache.kept(
        "capfilt captions", [key("web", seed, s), fine(s), s.longest, beams, shared], make
    )


def captioned(model: BLIP, web: Web, seed: int, longest: int, beams: int) -> list[str]:
    """A text for each picture: drawn from the nucleus, or by beam search, as the job does it."""
    arms.only_rows(model)
    words, texts = model.config.text, list[str]()
    options = replace(
        blip.beam(longest, beams) if beams else blip.nucleus(longest), end=words.sep, pad=words.pad
    )
    for chunk in web.rows.split(BATCH):
        numbers = [seed * 1_000_000 + len(texts) + i for i in range(len(chunk))]
        found = search(
            model, None, options, tokenizer=med.toy(), generator=numbers, pixels=chunk.float()
        )
        assert found.texts is not None
        texts += [each[0].strip() for each in found.texts]
    return texts


@torch.inference_mode()
def scored(model: BLIP, web: Web, texts: Sequence[str]) -> list[float]:
    """The filter's probability that each text is true of its picture."""
    arms.only_rows(model)
    scores: list[float] = []
    for chunk in web.rows.split(BATCH):
        own = texts[len(scores) :][: len(chunk)]
        tokens, mask = med.toy()(own, model.config.text.context, truncate=True)
        logits = model.match(chunk.float(), tokens, mask)  # (B, 2)
        scores += logits.softmax(dim=-1)[:, 1].tolist()
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
            if text and (which == "all" or points > settings.threshold):
                texts.append(text)
                pictures.append(picture)
    return arms.Pairs(found.rows, texts, pictures)


def arm(way: str, seed: int, settings: Settings) -> dict[str, float]:
    """What a way's model can do: see `score`; and the same "fine-tuned", and its data set's pairs.

    Retrieval is of the model fine-tuned for it, captions are of the one fine-tuned for them.
    """
    s = settings

    def make() -> dict[str, float]:
        found = score(pretrained(way, seed, s), s.arm)
        for tasks in (READS, WRITES):
            better = score(fine_tuned(way, tasks, seed, s), s.arm)
            found |= {f"{name}, fine-tuned": value for name, value in better.items()}
        return {**found, "pairs": float(len(dataset(way, seed, s)))}

    return cache.kept(
        f"capfilt {way}", [key(way, seed, s), fine(s), s.arm.pairs, s.arm.scenes], make
    )


def all_arms(
    seeds: Sequence[int], settings: Settings, ways: Sequence[str]
) -> dict[str, list[dict[str, float]]]:
    """The arms of all seeds, by way; the settings have a learning rate.

    Several processes begin with the web's models, which all other ways need.
    """
    first = [("web", seed, settings) for seed in seeds if "web" in ways]
    rest = [(way, seed, settings) for seed in seeds for way in ways if way != "web"]
    jobs = first + rest
    found = dict(zip(((w, seed) for w, seed, _ in jobs), cache.each(arm, jobs), strict=True))
    return {way: [found[way, seed] for seed in seeds] for way in ways}
