"""blip.sharing and blip.hard_negatives: arms trained on clean pairs, which differ in one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from statistics import mean
from typing import Any

from vlcourse.evals import metrics
from vlcourse.models.blip import TASKS
from vlcourse.models.med import SHARING
from vlcourse.teach.blip.experiments import arms
from vlcourse.teach.blip.experiments.score import Found, minus, score, with_ends
from vlcourse.teach.measurement import Measurement

SEEDS = (0, 1, 2)
BASE = "all-but-sa"
ARMS: dict[str, arms.Arm] = {
    **{kind: arms.Arm(sharing=kind) for kind in SHARING},
    "random": arms.Arm(random=True),
    "comparing and matching": arms.Arm(tasks=("itc", "itm")),
    "writing": arms.Arm(tasks=("lm",)),
}
assert ARMS[BASE].tasks == TASKS
Scores = Mapping[str, Sequence[Found]]


def rate_of(name: str, settings: arms.Settings) -> float:
    """The learning rate that suits an arm best: each has its own."""
    s = settings
    data = partial(arms.clean, s.pictures)
    found = arms.tuned(name, ARMS[name], lambda seed: data(seed, s.objects), s)
    return arms.best_rate(found)


def model_of(name: str, seed: int, settings: arms.Settings) -> Any:
    """An arm's model, trained now or read from the cache."""
    s = settings
    return arms.trained(
        name, ARMS[name], lambda: arms.clean(s.pictures, seed, s.objects), rate_of(name, s), seed, s
    )


def arm(name: str, seed: int, settings: arms.Settings) -> dict[str, float]:
    """What an arm can do (see `score`), and how many parameters its text model has."""

    def make() -> dict[str, float]:
        model = model_of(name, seed, settings)
        count = sum(parameter.numel() for parameter in model.text.parameters())
        return {**score(model, settings), "parameters": float(count)}

    key = [settings, ARMS[name], seed, rate_of(name, settings)]
    return arms.kept(f"blip {name}", key, make)


def trained(names: Sequence[str], seeds: Sequence[int], settings: arms.Settings) -> Scores:
    """The numbers of some arms, seed by seed."""
    arms.each(rate_of, [(name, settings) for name in names])
    jobs = [(name, seed, settings) for seed in seeds for name in names]
    found = dict(zip(((n, seed) for n, seed, _ in jobs), arms.each(arm, jobs), strict=True))
    return {name: [found[name, seed] for seed in seeds] for name in names}


def sharing(seeds: Sequence[int] = SEEDS, settings: arms.Settings | None = None) -> Measurement:
    """What reader and writer share: all but self-attention, or another part, or all, or nothing.

    Args:
        seeds: of weights and pictures, the same for all arms; three or more.
        settings: the numbers of an arm.

    Returns:
        ``measured``: recall@1 of "all but self-attention" minus the best of the other kinds, paired
        by seed. In ``others``: "recall, none" for that difference against each of them, "true,
        none" in true captions; each arm's numbers ("none: recall"); its parameters.
    """
    s = settings or arms.Settings()
    return compare_sharing(trained(tuple(SHARING), seeds, s), seeds, s)


def compare_sharing(scores: Scores, seeds: Sequence[int], settings: arms.Settings) -> Measurement:
    """From the arms' numbers to what `sharing` returns."""
    rest = [name for name in scores if name != BASE]
    others: dict[str, float] = {}
    for name in rest:
        for what in ("recall", "true"):
            others |= with_ends(f"{what}, {name}", minus(scores[BASE], scores[name], what))
    for name, found in scores.items():
        for what in ("recall", "true", "swapped relation"):
            others |= with_ends(f"{name}: {what}", [each[what] for each in found])
        others[f"{name}: parameters"] = found[0]["parameters"]
    best = max(rest, key=lambda name: mean(each["recall"] for each in scores[name]))
    return measurement(minus(scores[BASE], scores[best], "recall"), scores, seeds, settings, others)


def hard_negatives(
    seeds: Sequence[int] = SEEDS, settings: arms.Settings | None = None
) -> Measurement:
    """Wrong texts and pictures that look right, or any of the batch, for the ITM to learn from.

    Arguments as of :func:`sharing`.

    Returns:
        ``measured``: how much more often swapped relations are noticed, hard minus random, paired
        by seed. In ``others``: "gain: …" for this and the other foils, recall and captions; each
        arm's numbers ("hard: recall").
    """
    s = settings or arms.Settings()
    found = trained((BASE, "random"), seeds, s)
    return compare_negatives({"hard": found[BASE], "random": found["random"]}, seeds, s)


def compare_negatives(scores: Scores, seeds: Sequence[int], settings: arms.Settings) -> Measurement:
    """From both arms' numbers to what `hard_negatives` returns."""
    others: dict[str, float] = {}
    for what in (*FOILS, "recall", "true"):
        others |= with_ends(f"gain: {what}", minus(scores["hard"], scores["random"], what))
        for name, found in scores.items():
            others |= with_ends(f"{name}: {what}", [each[what] for each in found])
    gain = minus(scores["hard"], scores["random"], FOILS[0])
    return measurement(gain, scores, seeds, settings, others)


FOILS = ("swapped relation", "swapped attribute", "replaced attribute")


def measurement(
    values: Sequence[float],
    scores: Scores,
    seeds: Sequence[int],
    settings: arms.Settings,
    others: Mapping[str, float],
) -> Measurement:
    """The mean of ``values`` over the seeds, with all that was found."""
    low, high = metrics.seed_interval(values)
    return Measurement(
        measured=mean(values),
        low=low,
        high=high,
        seeds=tuple(seeds),
        recipe={
            "settings": asdict(settings),
            "optimiser": asdict(arms.pretrain_config(settings, settings.rates[0], 0)),
        },
        others=others,
        figure={
            "by seed": {name: [dict(each) for each in found] for name, found in scores.items()}
        },
    )
