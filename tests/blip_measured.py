"""What the experiments of BLIP's and CapFilt's claims find, with numbers made up here."""

from __future__ import annotations

from collections.abc import Mapping

from vlcourse.models.med import SHARING
from vlcourse.teach import claims
from vlcourse.teach.blip.experiments import arms, sharing
from vlcourse.teach.capfilt.experiments import bootstrap, tables
from vlcourse.teach.measurement import Measurement, Verdict

SEEDS = (0, 1, 2)
SETTINGS = arms.Settings(lr=2e-3)
TRIED = [0, 1, 2, 4, 8, 16, 256]
ENDS = (("", 0.0), (" low", -0.03), (" high", 0.03))
UNCLEAR = "does not show here"


def verdict(id: str, result: Measurement) -> Verdict:
    """What the ledger says of a measurement."""
    found = claims.judge(id, result).verdict
    assert found is not None
    return found


def found(recall: float, true: float, relation: float = 0.7) -> list[dict[str, float]]:
    """An arm's numbers for three seeds, a point apart: differences of two arms have no width."""
    return [
        {
            "recall": recall + by,
            "recall itc": recall + by - 0.03,
            "true": true + by,
            "swapped relation": relation + by,
            "swapped attribute": 0.9 + by,
            "replaced attribute": 0.95 + by,
            "recall, fine-tuned": 0.9 + by,
            "true, fine-tuned": 0.9 + by,
            "parameters": 600_000.0,
            "pairs": 9000.0,
        }
        for by in (-0.01, 0.0, 0.01)
    ]


def shared(recall: Mapping[str, float], true: Mapping[str, float]) -> Measurement:
    """What blip.sharing finds; 0.9 where nothing is said."""
    scores = {kind: found(recall.get(kind, 0.9), true.get(kind, 0.9)) for kind in SHARING}
    for each in scores["none"]:
        each["parameters"] = 1_200_000.0
    return sharing.compare_sharing(scores, SEEDS, SETTINGS)


def negatives(hard: float, random: float) -> Measurement:
    """What blip.hard_negatives finds, from the relations noticed."""
    scores = {"hard": found(0.9, 0.9, hard), "random": found(0.9, 0.9, random)}
    return sharing.compare_negatives(scores, SEEDS, SETTINGS)


def reranked(arms_gain: float, toy_gain: float) -> Measurement:
    """What blip.rerank finds."""
    curve = {str(k): 0.8 + 0.005 * i for i, k in enumerate(TRIED)}
    return Measurement(
        arms_gain, arms_gain - 0.03, arms_gain + 0.03, SEEDS,
        recipe={"k": 16},
        others={
            **{f"blip-toy{end}": toy_gain + by for end, by in ENDS},
            "blip-toy before": 0.8, "blip-toy after": 0.85, "before": 0.8, "after": 0.84,
        },
        figure={
            "recall by k": curve,
            "interval by k": {k: [value - 0.04, value + 0.04] for k, value in curve.items()},
            "arms": found(0.85, 0.9),
        },
    )  # fmt: skip


BLIND = {"recall@1": 0.004, "relations": 0.5, "true captions": 0.1, "answers": 0.4}


def four(**values: float) -> Measurement:
    """What blip.tasks finds; 0.9 in a task of which nothing is said."""
    each = {name: values.get(name.split("@")[0].split(" ")[0], 0.9) for name in BLIND}
    least = min(each.values())
    gains = ("all tasks − comparing and matching: recall", "all tasks − writing: true")
    return Measurement(
        least, least - 0.03, least + 0.03, bootstrap=2000,
        others={
            **{f"blind: {name}": value for name, value in BLIND.items()},
            **{f"{name}{end}": value + by for name, value in each.items() for end, by in ENDS},
            **{f"{name}{end}": 0.01 + by for name in gains for end, by in ENDS},
        },
        figure={"tasks": list(BLIND)},
    )  # fmt: skip


def texts(true: float = 0.85, dropped: float = 0.2) -> list[dict[str, float]]:
    """What a filter does to some texts, for three seeds."""
    told = {"precision": 0.92, "recall": 0.95, "precision at .9": 0.94, "distinct": 0.6}
    return [{**told, "true": true, "dropped": dropped + by} for by in (-0.01, 0.0, 0.01)]


def table(recall: Mapping[str, float], true: Mapping[str, float]) -> Measurement:
    """What blip.capfilt finds; 0.8 where nothing is said."""
    scores = {way: found(recall.get(way, 0.8), true.get(way, 0.8)) for way in tables.TABLE}
    judged = {"web texts": texts(0.5, 0.5), "synthetic texts": texts()}
    settings = bootstrap.Settings(arm=SETTINGS)
    return tables.compare(scores, "both", "web", SEEDS, settings, judged)


def two(other: str, recall: float, true: float) -> Measurement:
    """What blip.diversity ("beam") and blip.decouple ("shared") find: "both" has 0.8 in all."""
    scores = {"both": found(0.8, 0.8), other: found(recall, true)}
    judged = {"both texts": texts(), f"{other} texts": texts(0.95, 0.05)}
    settings = bootstrap.Settings(arm=SETTINGS)
    return tables.compare(scores, "both", other, SEEDS, settings, judged)


ALL: dict[str, Measurement] = {
    "blip.tasks": four(),
    "blip.hard_negatives": negatives(0.8, 0.6),
    "blip.rerank": reranked(0.04, 0.05),
    "blip.sharing": shared({"all": 0.85}, {}),
    "blip.capfilt": table({"both": 0.9}, {"both": 0.9}),
    "blip.diversity": two("beam", 0.7, 0.7),
    "blip.decouple": two("shared", 0.7, 0.7),
}
