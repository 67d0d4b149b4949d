"""clip.limits: is a true caption preferred to a foil with one thing changed?"""

from __future__ import annotations

import torch
from torch import Tensor

from vlcourse import zoo
from vlcourse.data import world
from vlcourse.data.world import Caption, Scene
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics
from vlcourse.models.clip import CLIP
from vlcourse.recipes import RECIPES
from vlcourse.teach.measurement import Measurement

RESAMPLES = 2000
# Not "count": of two named objects the foil is always "three", so words alone would decide.
KINDS = ("swapped relation", "swapped attribute", "replaced attribute")


def limits(items: int = 800, model: CLIP | None = None) -> Measurement:
    """Test the shipped model on two-object scenes, a caption and a foil of each kind a scene.

    Args:
        items: number of scenes.
        model: another model than clip-toy.

    Returns:
        Accuracy on swapped relations; the other kinds of foil, with intervals, in ``others``.
    """
    model = model or clip_evals.as_clip(zoo.load("clip-toy"))
    scenes = world.two_object_scenes(items, seed=7)
    hits = {kind: preferred(model, scenes, kind) for kind in KINDS}
    intervals = {kind: metrics.bootstrap_interval(v, RESAMPLES) for kind, v in hits.items()}
    others: dict[str, float] = {}
    for kind in KINDS[1:]:
        others[kind] = float(hits[kind].mean())
        others[f"{kind} low"], others[f"{kind} high"] = intervals[kind]
    low, high = intervals[KINDS[0]]
    return Measurement(
        measured=float(hits[KINDS[0]].mean()),
        low=low,
        high=high,
        bootstrap=RESAMPLES,
        recipe={"model": "clip-toy", "scenes": items, "objects": 2},
        others=others,
        figure={
            "accuracy by foil": {kind: float(v.mean()) for kind, v in hits.items()},
            "interval by foil": {kind: list(v) for kind, v in intervals.items()},
            "scenes by foil": {kind: len(v) for kind, v in hits.items()},
        },
    )


def preferred(model: CLIP, scenes: list[Scene], kind: str) -> Tensor:
    """1 where the caption is more similar than its foil, 0 where less, ½ for a tie.

    Float (M,), one for each scene that has such a foil: its seed says which of them is taken.
    """
    chosen: list[tuple[Scene, Caption, Caption]] = []
    for scene in scenes:
        if pairs := scene.foils(kind):
            chosen.append((scene, *pairs[scene.seed % len(pairs)]))
    if not chosen:
        raise ValueError(f"none of the {len(scenes)} scenes has a foil of the kind {kind!r}")
    tokenizer, size = RECIPES["clip-toy"].tokenizer(), model.config.image.image_size
    pictures = torch.from_numpy(world.render_batch([scene for scene, _, _ in chosen], size))
    images = clip_evals.embed_images(model, pictures)
    true = clip_evals.embed_texts(model, tokenizer, [caption for _, caption, _ in chosen])
    false = clip_evals.embed_texts(model, tokenizer, [foil for _, _, foil in chosen])
    margin = (images * (true - false)).sum(dim=-1)
    return torch.where(margin == 0, 0.5, (margin > 0).float())
