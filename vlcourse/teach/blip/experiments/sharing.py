"""blip.sharing and blip.hard_negatives: arms trained on clean pairs, which differ in one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from statistics import mean

from vlcourse.evals import metrics
from vlcourse.models.blip import TASKS
from vlcourse.models.med import SHARING
from vlcourse.teach.blip.experiments import arms, cache
from vlcourse.teach.blip.experiments.score import Found, minus, score, with_ends
from vlcourse.teach.measurement import Measurement

SEEDS = (0, 1, 2)
BASE = "all-but-sa"
TUNED = "none"  # all arms learn at the rate that suits this one best, so none is favoured by it
ARMS: dict[str, arms.Arm] = {
    **{kind: arms.Arm(sharing=kind) for kind in SHARING},
    "random": arms.Arm(random=True),
    "comparing and matching": arms.Arm(tasks=("itc", "itm")),
    "writing": arms.Arm(tasks=("lm",)),
}
assert ARMS[BASE].tasks == TASKS
Scores = Mapping[str, Sequence[Found]]


def loss_at(lr: float, settings: arms.Settings) -> float:
    """The loss of :data:`TUNED` at a learning rate."""
    s = settings
    data = partial(arms.clean, s.pictures, arms.TUNING_SEED, s.objects)
    return arms.loss_at(lr, "blip", ARMS[TUNED], data, s)


def arm(name: str, seed: int, settings: arms.Settings) -> dict[str, float]:
    """What an arm can do (see `score`), and how many parameters its text model has."""
    s, kind = settings, ARMS[name]

    def make() -> dict[str, float]:
        data = partial(arms.clean, s.pictures, seed, s.objects)
        model = arms.trained(f"blip {name}", kind, data, seed, s)
        count = sum(parameter.numel() for parameter in model.text.parameters())
        return {**score(model, s), "parameters": float(count)}

    trained = arms.key(s, kind, arms.pretrain_config(s, seed))
    return cache.kept(f"blip {name}", [trained, s.pairs, s.scenes], make)


def trained(names: Sequence[str], seeds: Sequence[int], settings: arms.Settings) -> Scores:
    """The numbers of some arms, seed by seed; the settings have a learning rate."""
    jobs = [(name, seed, settings) for seed in seeds for name in names]
    found = dict(zip(((n, seed) for n, seed, _ in jobs), cache.each(arm, jobs), strict=True))
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
    s = arms.with_rate(settings or arms.Settings(), loss_at)
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
    s = arms.with_rate(settings or arms.Settings(), loss_at)
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
            "optimiser": asdict(arms.pretrain_config(settings, seeds[0])),
            "tuned": TUNED,
        },
        others=others,
        figure={
            "by seed": {name: [dict(each) for each in found] for name, found in scores.items()}
        },
    )
