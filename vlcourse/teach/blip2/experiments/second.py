"""blip2.stage1, blip2.queries, blip2.bottleneck: second stages that differ in one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from statistics import mean

from vlcourse.evals import metrics
from vlcourse.teach.blip.experiments.cache import each, kept
from vlcourse.teach.blip.experiments.score import Found, minus, with_ends
from vlcourse.teach.blip2.experiments import arms
from vlcourse.teach.blip2.experiments.score import answers_only, score
from vlcourse.teach.measurement import Measurement

SEEDS = (0, 1, 2)
COUNTS = (1, 2, 4, 8, 16, 32)
ARMS: dict[str, arms.Arm] = {
    "Q-Former": arms.Arm(),
    "without": arms.Arm(first=False),
    "without, longer": arms.Arm(first=False, longer=True),
    "linear": arms.Arm(first=False, linear=True),
    "language model too": arms.Arm(tune_llm=True),
    **{f"{n} queries": arms.Arm(queries=n) for n in COUNTS},
}
Scores = Mapping[str, Sequence[Found]]


def arm(name: str, seed: int, lr: float, settings: arms.Settings) -> dict[str, float]:
    """What an arm can do (see `score`), and "step N" on its way: the mean over kinds there."""
    s, kind = settings, ARMS[name]
    if kind.queries == s.queries:
        kind = ARMS["Q-Former"]  # the same, and so kept once

    def make() -> dict[str, float]:
        measure = partial(answers_only, settings=s)
        model, result = arms.second_stage(s, kind, seed, lr, measure)
        way = {f"step {row['step']}": row["mean"] for row in result.history if "mean" in row}
        return {**score(model, s), **way}

    return kept("blip2 arm", [kind, seed, lr, asdict(s) | {"rates": []}], make)


def trained(names: Sequence[str], seeds: Sequence[int], settings: arms.Settings) -> Scores:
    """The numbers of some arms, seed by seed, each kind of arm at the rate that suits it best."""
    rates = {name: arms.rate(settings, ARMS[name]) for name in names}
    jobs = [(name, seed, rates[name], settings) for seed in seeds for name in names]
    found = dict(zip((job[:2] for job in jobs), each(arm, jobs), strict=True))
    return {name: [found[name, seed] for seed in seeds] for name in names}


def stage1(seeds: Sequence[int] = SEEDS, settings: arms.Settings | None = None) -> Measurement:
    """The second stage after a first, and without one.

    Args:
        seeds: of weights and pictures, the same for all arms; three or more.
        settings: the numbers of an arm.

    Returns:
        ``measured``: questions answered (mean over kinds), with minus without a first stage, paired
        by seed. In ``others``: "longer" for the same against a second stage that has the first
        stage's steps as well; "true" in captions.
    """
    s = settings or arms.Settings()
    names = ("Q-Former", "without", "without, longer")
    return compare_stage1(trained(names, seeds, s), seeds, s)


def compare_stage1(scores: Scores, seeds: Sequence[int], settings: arms.Settings) -> Measurement:
    """From the arms' numbers to what `stage1` returns."""
    full, bare, longer = (scores[n] for n in ("Q-Former", "without", "without, longer"))
    others = with_ends("longer", minus(full, longer, "mean"))
    others |= with_ends("true", minus(full, bare, "true"))
    return measurement(minus(full, bare, "mean"), scores, seeds, settings, others)


def queries(seeds: Sequence[int] = SEEDS, settings: arms.Settings | None = None) -> Measurement:
    """Both stages with 1 to 32 queries. Arguments as of :func:`stage1`.

    Returns:
        ``measured``: questions answered with the most queries minus with one. In ``others``: "most
        − 4" and so on for the most minus each other number.
    """
    s = settings or arms.Settings()
    names = [f"{n} queries" for n in COUNTS]
    return compare_queries(trained(names, seeds, s), seeds, s)


def compare_queries(scores: Scores, seeds: Sequence[int], settings: arms.Settings) -> Measurement:
    """From the arms' numbers to what `queries` returns."""
    *fewer, most = scores
    others: dict[str, float] = {}
    for name in fewer:
        gain = minus(scores[most], scores[name], "mean")
        others |= with_ends(f"most − {name.split()[0]}", gain)
    values = minus(scores[most], scores[fewer[0]], "mean")
    return measurement(values, scores, seeds, settings, others)


def bottleneck(seeds: Sequence[int] = SEEDS, settings: arms.Settings | None = None) -> Measurement:
    """A Q-Former, a linear layer, and a Q-Former whose language model learns along.

    Arguments as of :func:`stage1`.

    Returns:
        ``measured``: questions answered, Q-Former minus linear layer. In ``others``: "frozen" for
        the Q-Former with a frozen language model minus that with a learning one; parameters.
    """
    s = settings or arms.Settings()
    names = ("Q-Former", "linear", "language model too")
    return compare_bottleneck(trained(names, seeds, s), seeds, s)


def compare_bottleneck(
    scores: Scores, seeds: Sequence[int], settings: arms.Settings
) -> Measurement:
    """From the arms' numbers to what `bottleneck` returns."""
    mine = scores["Q-Former"]
    others = with_ends("frozen", minus(mine, scores["language model too"], "mean"))
    others |= with_ends("true", minus(mine, scores["linear"], "true"))
    return measurement(minus(mine, scores["linear"], "mean"), scores, seeds, settings, others)


def measurement(
    values: Sequence[float],
    scores: Scores,
    seeds: Sequence[int],
    settings: arms.Settings,
    others: Mapping[str, float],
) -> Measurement:
    """The mean of ``values`` over the seeds, with all that was found."""
    low, high = metrics.seed_interval(values)
    told = dict(others)
    for name, found in scores.items():
        for what in ("mean", "mean blind", "true"):
            told |= with_ends(f"{name}: {what}", [each[what] for each in found])
        for what in ("trained", "all"):
            told[f"{name}: {what}"] = found[0][what]
    return Measurement(
        measured=mean(values), low=low, high=high, seeds=tuple(seeds),
        recipe={"settings": asdict(settings), "first": arms.FIRST, "second": arms.SECOND},
        others=told,
        figure={"by seed": {name: [dict(x) for x in found] for name, found in scores.items()}},
    )  # fmt: skip
