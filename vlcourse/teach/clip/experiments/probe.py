"""clip.linear_probe: few labels, and three ways to use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from vlcourse import zoo
from vlcourse.data import world
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics
from vlcourse.evals.probe import features, linear_probe
from vlcourse.models.clip import CLIP
from vlcourse.recipes import RECIPES
from vlcourse.teach.clip.experiments import arms
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers.byte_bpe import toy

RESAMPLES = 2000
HEADLINE = 16  # labels a class
LR = RECIPES["clip-toy"].train.lr


def probe_by_labels(
    labels: Sequence[int] = (1, 4, 16, 64),
    items: int = 1000,
    steps: int = 300,
    model: CLIP | None = None,
) -> Measurement:
    """Probe, prompts and a tower trained from scratch on the same labels, on the same pictures.

    Pictures show one object of a seen class (40 of them). The scratch arm is clip-toy's own tower
    with a linear layer, trained with clip-toy's own learning rate and with shifted pictures.

    Args:
        labels: labelled pictures of each class; one of them must be 16, the headline.
        items: test pictures.
        steps: of the scratch arm, with a batch of up to 128.
        model: another model than clip-toy.

    Returns:
        Probe minus scratch at 16 labels a class, with a paired bootstrap over the test pictures.
    """
    model = model or clip_evals.as_clip(zoo.load("clip-toy"))
    size, classes = model.config.image.image_size, len(world.SEEN)
    test_images, test_labels = arms.seen_pictures("test", items, size, seed=5)
    test_x = features(model, test_images)
    weights = clip_evals.classifier(model, toy(), arms.OneObject.classes, world.TEMPLATES)
    found = {"zero-shot": (clip_evals.embed_images(model, test_images) @ weights.T).argmax(dim=-1)}
    hits = {"zero-shot": (found["zero-shot"] == test_labels).float()}
    for n in labels:
        images, answers = arms.seen_pictures("train", n * classes, size, seed=6)
        probe = linear_probe(features(model, images), answers, test_x, test_labels)
        hits[f"probe {n}"] = probe.hits
        hits[f"scratch {n}"] = _scratch(model, (images, answers), (test_images, test_labels), steps)
    intervals = {name: metrics.bootstrap_interval(v, RESAMPLES) for name, v in hits.items()}
    gain = hits[f"probe {HEADLINE}"] - hits[f"scratch {HEADLINE}"]
    low, high = metrics.bootstrap_interval(gain, RESAMPLES)
    accuracy = {name: float(v.mean()) for name, v in hits.items()}
    return Measurement(
        measured=float(gain.mean()),
        low=low,
        high=high,
        bootstrap=RESAMPLES,
        recipe={
            "model": "clip-toy",
            "scratch": {"image": asdict(model.config.image), "steps": steps, "lr": LR},
        },
        others=accuracy,
        figure={
            "labels a class": list(labels),
            "accuracy": accuracy,
            "interval": {name: list(interval) for name, interval in intervals.items()},
        },
    )


def _scratch(
    model: CLIP, known: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], steps: int
) -> Tensor:
    """Right or wrong on the test pictures of the same tower, trained on the known labels alone."""
    config = TrainConfig(
        steps=steps,
        batch_size=min(128, len(known[0])),
        lr=LR,
        warmup=min(30, steps),
    )
    torch.manual_seed(0)
    classifier = arms.Classifier(model.config.image, model.config.embed, len(world.SEEN))
    collate = arms.text_collate(model.config.image.image_size, "crop")
    arms.train(
        classifier,
        arms.Pictures(*known, arms.OneObject.classes),
        collate,
        config,
        RunConfig(log_every=100),
    )
    return (arms.in_batches(classifier.logits, test[0]).argmax(dim=-1) == test[1]).float()
