"""clip.zero_shot: the shipped model on compositions that it never saw."""

from __future__ import annotations

from vlcourse import tokenizers, zoo
from vlcourse.data import world
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics
from vlcourse.teach.measurement import Measurement

RESAMPLES = 2000


def zero_shot(items: int = 2000) -> Measurement:
    """clip.zero_shot: classify pictures of held-out compositions among all 48 classes."""
    model, tokenizer = clip_evals.as_clip(zoo.load("clip-toy")), tokenizers.toy()
    details = clip_evals.clip_world_details(model, tokenizer, per_split=items)
    images, labels = world.single_object_set("heldout", items, model.config.image.image_size)
    weights = clip_evals.classifier(
        model, tokenizer, clip_evals.world_class_names(), world.TEMPLATES
    )
    hits = (clip_evals.embed_images(model, images) @ weights.T).argmax(dim=-1) == labels
    by_class = {
        " ".join(world.CLASSES[c]): float(hits[labels == c].float().mean())
        for c in sorted(set(labels.tolist()))
    }
    low, high = metrics.bootstrap_interval(details["heldout"], RESAMPLES)
    return Measurement(
        measured=float(details["heldout"].mean()),
        low=low,
        high=high,
        bootstrap=RESAMPLES,
        recipe=zoo.card("clip-toy")["recipe"],
        others={name: float(v.mean()) for name, v in details.items() if name != "heldout"},
        figure={"accuracy by held-out class": by_class},
    )
