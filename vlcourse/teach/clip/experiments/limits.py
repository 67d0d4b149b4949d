"""clip.limits: is a true caption preferred to a foil with one thing changed?"""

from __future__ import annotations

from torch import Tensor

from vlcourse import zoo
from vlcourse.data import world
from vlcourse.data.world import Scene
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import matching, metrics
from vlcourse.models.clip import CLIP
from vlcourse.recipes import RECIPES
from vlcourse.teach.measurement import Measurement

RESAMPLES = 2000
KINDS = matching.KINDS


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

    Float (M,), one for each scene that has such a foil.
    """
    pairs = matching.foil_pairs(scenes, kind)
    return matching.clip_preferred(model, RECIPES["clip-toy"].tokenizer(), pairs)
