"""clip.robust: captions or labels, one generator or varied pictures; what is lost under shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from vlcourse.data import world
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics
from vlcourse.models.base import Trainable
from vlcourse.models.clip import CLIP, CLIPConfig
from vlcourse.recipes.clip import TOY_RESNET, TOY_TEXT
from vlcourse.teach.clip.experiments import arms
from vlcourse.teach.clip.experiments.varied import VariedObject
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers.byte_bpe import toy

EMBED = 128
OBJECTIVES = ("captions", "labels")
PICTURES = {"one generator": arms.OneObject, "varied": VariedObject}
ARMS = tuple(f"{objective}, {kind}" for kind in PICTURES for objective in OBJECTIVES)

Found = Mapping[str, float]  # accuracy by kind of test picture


def robust(seeds: Sequence[int] = (0, 1, 2), steps: int = 350, items: int = 600) -> Measurement:
    """Train the four arms on the same one-object scenes, test on plain and on shifted pictures.

    Args:
        seeds: four arms each, of the weights, the scenes and their order.
        steps: of each arm; the batch has 128 scenes, each seen once.
        items: test pictures of each kind.

    Returns:
        See `compare`.
    """
    return compare(
        {arm: [train(arm, seed, steps, items) for seed in seeds] for arm in ARMS}, seeds, steps
    )


def train(arm: str, seed: int, steps: int = 350, items: int = 600) -> Found:
    """Train one arm, "captions, varied" for example; its accuracy on each kind of picture."""
    objective, kind = arm.split(", ")
    size = TOY_RESNET.image_size
    config = _config(steps, seed)
    scenes = PICTURES[kind](steps * config.batch_size, size, seed)
    torch.manual_seed(seed)
    model = _build(objective)
    run = RunConfig(log_every=50)
    trained = arms.train(model, scenes, arms.text_collate(size), config, run).model
    found = {"test": _accuracy(trained, *arms.seen_pictures("test", items, size))}
    for shift in world.SHIFTS:
        pictures = arms.seen_pictures("shifted", items, size, shift=shift)
        found[shift] = _accuracy(trained, *pictures)
    return found


def compare(scores: Mapping[str, Sequence[Found]], seeds: Sequence[int], steps: int) -> Measurement:
    """What the objective changes at equal pictures, and the pictures at equal objective.

    ``measured`` is what the labels' arm loses more than the captions' arm, from plain pictures to
    the mean of the three shifts, as a mean over the kinds of training pictures in ``scores``. In
    ``others``: the same for each kind ("objective, varied"), and what each objective loses more
    with one generator than with varied pictures ("variety, captions"). All are paired by seed, and
    each interval is Student's t over the seeds.
    """
    kinds = [kind for kind in PICTURES if f"captions, {kind}" in scores]
    lost = {arm: [_loss(found) for found in each] for arm, each in scores.items()}
    effects: dict[str, list[float]] = {}
    for kind in kinds:
        pairs = zip(lost[f"labels, {kind}"], lost[f"captions, {kind}"], strict=True)
        effects[f"objective, {kind}"] = [a - b for a, b in pairs]
    for objective in OBJECTIVES if len(kinds) == 2 else ():
        pairs = zip(lost[f"{objective}, one generator"], lost[f"{objective}, varied"], strict=True)
        effects[f"variety, {objective}"] = [a - b for a, b in pairs]
    halves = zip(*(effects[f"objective, {kind}"] for kind in kinds), strict=True)
    both = [sum(pair) / len(pair) for pair in halves]
    low, high = metrics.seed_interval(both)
    others: dict[str, float] = {}
    for name, values in effects.items():
        others[name] = sum(values) / len(values)
        others[f"{name} low"], others[f"{name} high"] = metrics.seed_interval(values)
    for arm, each in scores.items():
        others |= {f"{arm}: {test}": sum(f[test] for f in each) / len(each) for test in each[0]}
    return Measurement(
        measured=sum(both) / len(both),
        low=low,
        high=high,
        seeds=tuple(seeds),
        recipe={"train": asdict(_config(steps)), "image": asdict(TOY_RESNET), "objects": 1},
        others=others,
        figure={
            "accuracy by seed": {arm: [dict(f) for f in each] for arm, each in scores.items()},
            "accuracy lost by seed": lost,
            "effect by seed": effects,
        },
    )


def _config(steps: int, seed: int = 0) -> TrainConfig:
    return TrainConfig(steps=steps, batch_size=128, lr=1e-3, warmup=min(50, steps), seed=seed)


def _build(objective: str) -> Trainable:
    if objective == "captions":
        return CLIPConfig(embed=EMBED, image=TOY_RESNET, text=TOY_TEXT).build()
    return arms.Classifier(TOY_RESNET, EMBED, len(world.SEEN))


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Among the 40 classes that both objectives know."""
    if isinstance(model, CLIP):
        weights = clip_evals.classifier(model, toy(), arms.OneObject.classes, world.TEMPLATES)
        logits = clip_evals.embed_images(model, images) @ weights.T
    else:
        assert isinstance(model, arms.Classifier)
        logits = arms.in_batches(model.logits, images)
    return metrics.accuracy(logits, labels)


def _loss(found: Found) -> float:
    return found["test"] - sum(found[shift] for shift in world.SHIFTS) / len(world.SHIFTS)
