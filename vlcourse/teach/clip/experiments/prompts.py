"""clip.prompts: a bare name, one template, an ensemble of templates; the same pictures for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse import paths, zoo
from vlcourse.data import world
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics
from vlcourse.models.clip import CLIP
from vlcourse.recipes import RECIPES
from vlcourse.teach.clip.experiments.real import templates_of
from vlcourse.teach.measurement import Measurement

RESAMPLES = 2000
WAYS = ("bare name", "one template", "ensemble")


def prompts(items: int = 1500, model: CLIP | None = None, photos: bool = True) -> Measurement:
    """Classify the same pictures with each way of asking.

    Args:
        items: toy pictures of seen classes, and as many of held-out ones.
        model: another model than clip-toy.
        photos: CIFAR-10's test photos too, where they are found.

    Returns:
        Ensemble minus bare name on the toy world, with a paired bootstrap over the pictures.
    """
    model = model or clip_evals.as_clip(zoo.load("clip-toy"))
    hits = toy_hits(model, items)
    others, accuracy = _others(hits, ""), {"toy world": _means(hits)}
    if photos and paths.find_data("cifar10"):
        found = photo_hits(clip_evals.as_clip(zoo.load("clip-cifar")))
        others |= _others(found, "CIFAR-10 ")
        accuracy["CIFAR-10"] = _means(found)
    gain = hits["ensemble"] - hits["bare name"]
    low, high = metrics.bootstrap_interval(gain, RESAMPLES)
    return Measurement(
        measured=float(gain.mean()),
        low=low,
        high=high,
        bootstrap=RESAMPLES,
        recipe={"models": ["clip-toy", "clip-cifar"], "pictures": 2 * items},
        others=others,
        figure={"accuracy by prompt": accuracy},
    )


def toy_hits(model: CLIP, items: int) -> dict[str, Tensor]:
    """Right or wrong on seen and on held-out classes, among all 48: float (2 · items,) a way."""
    names = [f"{colour} {shape}" for colour, shape in world.CLASSES]
    sentences = clip_evals.world_class_names()
    asked: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "bare name": (names, ("{}",)),
        "one template": (sentences, ("a picture of {}",)),
        "ensemble": (sentences, world.TEMPLATES),
    }
    sets = [
        world.single_object_set(split, items, model.config.image.image_size, seed=3)
        for split in ("test", "heldout")
    ]
    images = clip_evals.embed_images(model, torch.cat([s[0] for s in sets]))
    labels = torch.cat([s[1] for s in sets])
    return _hits(model, RECIPES["clip-toy"].tokenizer(), images, labels, asked)


def photo_hits(model: CLIP) -> dict[str, Tensor]:
    """The same for CIFAR-10's test photos."""
    recipe = RECIPES["clip-cifar"]
    data = recipe.build_data("test")
    samples = [data[i] for i in range(len(data))]
    images = clip_evals.embed_images(model, torch.stack([s["image"] for s in samples]))
    labels = torch.tensor([s["label"] for s in samples])
    templates = templates_of(recipe)
    asked: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "bare name": (data.classes, ("{}",)),
        "one template": (data.classes, templates[:1]),
        "ensemble": (data.classes, templates),
    }
    return _hits(model, recipe.tokenizer(), images, labels, asked)


def _hits(
    model: CLIP,
    tokenizer: Any,
    images: Tensor,
    labels: Tensor,
    asked: dict[str, tuple[Sequence[str], Sequence[str]]],
) -> dict[str, Tensor]:
    hits = {}
    for way in WAYS:
        weights = clip_evals.classifier(model, tokenizer, *asked[way])
        hits[way] = ((images @ weights.T).argmax(dim=-1) == labels).float()
    return hits


def _means(hits: dict[str, Tensor]) -> dict[str, float]:
    return {way: float(values.mean()) for way, values in hits.items()}


def _others(hits: dict[str, Tensor], prefix: str) -> dict[str, float]:
    """Accuracies, and what each way brings beyond the one before it, with its interval."""
    others = {f"{prefix}{way}": mean for way, mean in _means(hits).items()}
    for before, after in zip(WAYS, WAYS[1:], strict=False):
        gain, name = hits[after] - hits[before], f"{prefix}{after} − {before}"
        others[name] = float(gain.mean())
        others[f"{name} low"], others[f"{name} high"] = metrics.bootstrap_interval(gain, RESAMPLES)
    return others
