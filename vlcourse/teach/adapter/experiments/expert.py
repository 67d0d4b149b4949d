"""adapter.v2_expert: questions about pictures, with and without an expert's caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vlcourse import zoo
from vlcourse.evals import captions, experts, instructions, metrics
from vlcourse.teach.adapter.experiments import arms, seen
from vlcourse.teach.adapter.experiments.arms import SEEDS, Scores, Settings
from vlcourse.teach.blip.experiments.cache import kept
from vlcourse.teach.blip.experiments.score import Found, with_ends
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers import med

EXPERT = "blip-toy"
ASKED = ("picture", "both", "caption")


def samples(settings: Settings) -> list[dict[str, Any]]:
    """Instructions about pictures of unseen compositions, with what the expert says of each."""
    found = instructions.instruction_set(scenes=settings.scenes, objects=(1, 2), images=True)
    model: Any = zoo.load(EXPERT)
    said = experts.captioner(model, med.toy())([sample["image"] for sample in found])
    return [{**sample, "said": text} for sample, text in zip(found, said, strict=True)]


def put(sample: dict[str, Any], how: str) -> dict[str, Any]:
    """A sample as one of :data:`ASKED`: the picture, the expert's caption before it, or both."""
    told = () if how == "picture" else ((sample["said"], False),)
    shown = {k: v for k, v in sample.items() if k != "image" or how != "caption"}
    return {**shown, "parts": (*told, *sample["parts"])}


def ask(seed: int, rate: float, settings: Settings, asked: Sequence[dict[str, Any]]) -> Found:
    """What the jointly trained model of a seed answers in each way: "picture: score" and so on.

    It was never instructed about a picture: it knows captions of them, and instructions in words.
    """
    arm = seen.ARMS[seen.DISJOINT]
    recipe = arms.recipe_of(arm, settings, seed, rate)

    def make() -> dict[str, float]:
        model = arms.fit(arm, settings, seed, rate, keep=True).model
        collate, found = recipe.collate(train=False), dict[str, float]()
        kinds = [sample["kind"] for sample in asked]
        for how in ASKED:
            right = instructions.responses_right(model, collate, [put(s, how) for s in asked])
            means = {
                kind: float(right[torch.tensor([k == kind for k in kinds])].float().mean())
                for kind in dict.fromkeys(kinds)
            }
            found |= {f"{how}: {kind}": value for kind, value in means.items()}
            found[f"{how}: score"] = sum(means.values()) / len(means)
        return found

    return kept("adapter expert", [recipe.model, recipe.train, recipe.data, settings.scenes], make)


def v2_expert(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """The models of adapter.v2_disjoint, asked about pictures, with and without blip-toy's words.

    Args:
        seeds: of the models, three or more.
        settings: the numbers of an arm.

    Returns:
        ``measured``: instructions followed, with minus without the caption, paired by seed. In
        ``others``: "picture: score", "both: score", "caption: score", and "expert: true", the share
        of its captions that are true, with an interval over pictures.
    """
    s = settings or seen.TOGETHER
    asked = samples(s)
    rate = arms.rate(seen.ARMS[seen.DISJOINT], s, seen.ARMS)
    found = [ask(seed, rate, s, asked) for seed in seeds]
    judged = captions.judge(
        [own["said"].rstrip(".") for own in asked], [own["scene"] for own in asked]
    )["true"]
    low, high = metrics.bootstrap_interval(judged)
    true = {"": float(judged.mean()), " low": low, " high": high}
    return compare({"joint": found}, true, seeds, s)


def compare(
    scores: Scores, true: dict[str, float], seeds: Sequence[int], settings: Settings
) -> Measurement:
    """From the models' numbers to what `v2_expert` returns; ``true``: the expert's, with ends."""
    found = scores["joint"]
    others = {f"expert: true{end}": value for end, value in true.items()}
    for how in ASKED:
        others |= with_ends(f"{how}: score", [own[f"{how}: score"] for own in found])
    values = [own["both: score"] - own["picture: score"] for own in found]
    return arms.measurement(values, scores, (), seeds, settings, others)
