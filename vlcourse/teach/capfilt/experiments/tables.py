"""capfilt's 2 × 2, and two of its arms against another: beam search, and one model for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean

from vlcourse.evals import metrics
from vlcourse.teach.blip.experiments.score import minus, with_ends
from vlcourse.teach.capfilt.experiments.bootstrap import (
    WAYS,
    Settings,
    all_arms,
    judged_web,
    with_rate,
    written,
)
from vlcourse.teach.capfilt.experiments.filtered import filtering
from vlcourse.teach.measurement import Measurement

SEEDS = (0, 1, 2)
TABLE = ("web", "filter", "captioner", "both")
NAMES = ("recall", "true", "recall, fine-tuned", "true, fine-tuned")
Scores = Mapping[str, Sequence[Mapping[str, float]]]


def capfilt(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """The paper's table 1: with and without captioner, with and without filter.

    Args:
        seeds: of the webs, the clean sets and the models; three or more.
        settings: the numbers of the experiment.

    Returns:
        See :func:`compare`, "both" against "web"; and in ``others`` every arm's numbers ("web:
        recall"), with Student's intervals, and what the filter does to the web's texts and the
        synthetic ones ("web texts: precision"), means over the seeds.
    """
    s = with_rate(settings or Settings())
    scores = all_arms(seeds, s, TABLE)
    tables = {
        "web texts": [filtering(judged_web(seed, s), s.threshold) for seed in seeds],
        "synthetic texts": [filtering(written("both", seed, s), s.threshold) for seed in seeds],
    }
    return compare(scores, "both", "web", seeds, s, tables)


def diversity(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """The paper's table 2: captions from the nucleus ("both") against those of beam search.

    Arguments and result as of :func:`capfilt`.
    """
    return two("both", "beam", seeds, with_rate(settings or Settings()))


def decouple(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """The paper's table 4: captioner and filter apart ("both") against one model that is both.

    Arguments and result as of :func:`capfilt`.
    """
    return two("both", "shared", seeds, with_rate(settings or Settings()))


def two(one: str, other: str, seeds: Sequence[int], s: Settings) -> Measurement:
    """Two ways of making the data, by what is learned from them, and by their synthetic texts."""
    scores = all_arms(seeds, s, (one, other))
    tables = {
        f"{way} texts": [filtering(written(way, seed, s), s.threshold) for seed in seeds]
        for way in (one, other)
    }
    return compare(scores, one, other, seeds, s, tables)


def compare(
    scores: Scores,
    one: str,
    other: str,
    seeds: Sequence[int],
    settings: Settings,
    tables: Mapping[str, Sequence[Mapping[str, float]]],
) -> Measurement:
    """From what the arms can do, to the measurement.

    Returns:
        ``measured``: recall@1 of ``one`` minus ``other``, paired by seed. In ``others``: the same
        for each of :data:`NAMES`, under "gain: true" and so on; each way's own numbers; the means
        of ``tables``, and under "… least" the worst seed's.
    """
    gains = {name: minus(scores[one], scores[other], name) for name in NAMES}
    low, high = metrics.seed_interval(gains["recall"])
    others: dict[str, float] = {}
    for name, values in gains.items():
        others |= with_ends(f"gain: {name}", values)
    for way, found in scores.items():
        for name in NAMES:
            others |= with_ends(f"{way}: {name}", [each[name] for each in found])
        others[f"{way}: pairs"] = mean(each["pairs"] for each in found)
    for source, each_seed in tables.items():
        for name in each_seed[0]:
            values = [each[name] for each in each_seed]
            others[f"{source}: {name}"] = mean(values)
            others[f"{source}: {name} least"] = min(values)
    return Measurement(
        measured=mean(gains["recall"]),
        low=low,
        high=high,
        seeds=tuple(seeds),
        recipe={"settings": asdict(settings)},
        others=others,
        figure={
            "ways": {way: list(WAYS[way]) for way in scores},
            "by seed": {way: [dict(each) for each in found] for way, found in scores.items()},
            "filter by seed": {name: [dict(each) for each in t] for name, t in tables.items()},
        },
    )
