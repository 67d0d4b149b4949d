"""How an arm is judged: retrieval in two steps, foils, and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from vlcourse.data import world
from vlcourse.evals import captions, matching, metrics, rerank
from vlcourse.models.blip import BLIP
from vlcourse.teach.blip.experiments.arms import Settings
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers import med

Found = Mapping[str, float]
Scores = Mapping[str, Sequence[Found]]
"""What was found of each arm, seed by seed."""


def score(model: BLIP, settings: Settings, foils: bool = True) -> dict[str, float]:
    """What a model can do of what it was trained for, on test pictures of the toy world.

    Args:
        model: an arm.
        settings: how many test pictures there are.
        foils: whether to try those, too: it takes as long as all the rest.

    Returns:
        ``recall``: recall@1 after re-ranking, the mean of both directions; ``recall itc``: before;
        each kind of foil: how often the true caption is preferred, chance 1/2; ``true``: captions
        of which every word holds; ``coverage``: objects that they name; ``cider``.
    """
    s, tokenizer, found = settings, med.toy(), dict[str, float]()
    if {"itc", "itm"} <= set(model.config.tasks):
        each = rerank.retrieval(model, tokenizer, s.pairs)
        for end in ("", " itc"):
            found[f"recall{end}"] = mean(each[way + end] for way in DIRECTIONS)
        if foils:
            scenes = world.two_object_scenes(s.scenes, seed=7)
            preferred = matching.foil_details(model, tokenizer, scenes)
            found |= {kind: float(preferred[kind].mean()) for kind in matching.KINDS}
    if "lm" in model.config.tasks:
        scenes = captions.caption_set(s.scenes, s.objects)
        said = captions.caption_details(model, tokenizer, scenes)
        found |= {name: float(said[name].mean()) for name in ("true", "coverage", "cider")}
    return found


DIRECTIONS = ("text_to_image", "image_to_text")


def with_ends(name: str, values: Sequence[float]) -> dict[str, float]:
    """The mean over seeds under ``name``, and Student's interval under "name low", "name high"."""
    low, high = metrics.seed_interval(values)
    return {name: mean(values), f"{name} low": low, f"{name} high": high}


def minus(one: Sequence[Found], other: Sequence[Found], name: str) -> list[float]:
    """One arm's number minus another's, seed by seed."""
    return [a[name] - b[name] for a, b in zip(one, other, strict=True)]


def measurement(
    values: Sequence[float],
    scores: Scores,
    told: Sequence[str],
    seeds: Sequence[int],
    settings: Any,
    others: Mapping[str, float],
    figure: Mapping[str, Any] | None = None,
) -> Measurement:
    """The mean of ``values`` over the seeds, with all that was found.

    Args:
        values: one for each seed.
        scores: of each arm and seed.
        told: which of an arm's numbers go to ``others`` with intervals, as "V1: score".
        seeds: of the arms.
        settings: their numbers, a dataclass.
        others, figure: more of them.
    """
    low, high = metrics.seed_interval(values)
    numbers = dict(others)
    for name, found in scores.items():
        for what in told:
            if what in found[0]:
                numbers |= with_ends(f"{name}: {what}", [own[what] for own in found])
    by_seed = {name: [dict(own) for own in found] for name, found in scores.items()}
    return Measurement(
        measured=sum(values) / len(values), low=low, high=high, seeds=tuple(seeds),
        recipe={"settings": asdict(settings)}, others=numbers,
        figure={"by seed": by_seed, **(figure or {})},
    )  # fmt: skip
