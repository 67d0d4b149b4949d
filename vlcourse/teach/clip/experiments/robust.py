"""clip.robust: one tower trained on captions and on labels; what each loses under shift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from vlcourse.data import world
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics
from vlcourse.models.clip import CLIP, CLIPConfig
from vlcourse.recipes.clip import TOY_RESNET, TOY_TEXT
from vlcourse.teach.clip.experiments import arms
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers.byte_bpe import toy

EMBED = 128


def robust(seeds: Sequence[int] = (0, 1, 2), steps: int = 350, items: int = 600) -> Measurement:
    """Train both arms on the same one-object scenes, test on plain and on shifted ones.

    Args:
        seeds: a pair of arms each, of the weights, the scenes and their order.
        steps: of each arm; the batch has 128 scenes, each seen once.
        items: test pictures of each kind.

    Returns:
        What the labels' arm loses more than the captions' arm, from plain pictures to the mean of
        the three shifts; mean and interval over the seeds.
    """
    size = TOY_RESNET.image_size
    tests = {"test": arms.seen_pictures("test", items, size)}
    for shift in world.SHIFTS:
        tests[shift] = arms.seen_pictures("shifted", items, size, shift=shift)
    config = TrainConfig(steps=steps, batch_size=128, lr=1e-3, warmup=min(50, steps))
    run = RunConfig(log_every=50)
    scores: dict[str, list[dict[str, float]]] = {"captions": [], "labels": []}
    for seed in seeds:
        scenes = arms.OneObject(steps * config.batch_size, size, seed)
        settings = TrainConfig(**{**asdict(config), "seed": seed})
        for arm, found in scores.items():
            torch.manual_seed(seed)
            model = _build(arm)
            trained = arms.train(model, scenes, arms.text_collate(size), settings, run).model
            found.append({name: _accuracy(trained, *test) for name, test in tests.items()})
    lost = {arm: [_loss(found) for found in each] for arm, each in scores.items()}
    gaps = [a - b for a, b in zip(lost["labels"], lost["captions"], strict=True)]
    low, high = metrics.seed_interval(gaps)
    means = {
        arm: {name: sum(f[name] for f in each) / len(each) for name in tests}
        for arm, each in scores.items()
    }
    return Measurement(
        measured=sum(gaps) / len(gaps),
        low=low,
        high=high,
        seeds=tuple(seeds),
        recipe={"train": asdict(config), "image": asdict(TOY_RESNET), "objects": 1},
        others={f"{arm} {name}": v for arm, each in means.items() for name, v in each.items()},
        figure={"accuracy by seed": scores, "accuracy lost by seed": lost},
    )


def _build(arm: str) -> nn.Module:
    if arm == "captions":
        return CLIPConfig(embed=EMBED, image=TOY_RESNET, text=TOY_TEXT).build()
    return arms.Classifier(TOY_RESNET, EMBED, len(world.SEEN))


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Among the 40 classes that both arms know."""
    if isinstance(model, CLIP):
        weights = clip_evals.classifier(model, toy(), arms.OneObject.classes, world.TEMPLATES)
        logits = clip_evals.embed_images(model, images) @ weights.T
    else:
        assert isinstance(model, arms.Classifier)
        logits = arms.in_batches(model.logits, images)
    return metrics.accuracy(logits, labels)


def _loss(found: dict[str, float]) -> float:
    return found["test"] - sum(found[shift] for shift in world.SHIFTS) / len(world.SHIFTS)
