"""What the experiments of BLIP-2's claims find, with numbers made up here."""

from __future__ import annotations

from typing import Any

from vlcourse.data.world import QUESTION_KINDS
from vlcourse.teach import claims
from vlcourse.teach.blip2.experiments import arms, masks, second
from vlcourse.teach.measurement import Measurement, Verdict

SEEDS = (0, 1, 2)
SETTINGS = arms.Settings(rates=(2e-3,))
UNCLEAR = "does not show here"


def verdict(id: str, result: Measurement) -> Verdict:
    """What the ledger says of a measurement."""
    found = claims.judge(id, result).verdict
    assert found is not None
    return found


def found(answered: float, true: float = 0.8, by: float = 0.01, **more: float) -> Any:
    """An arm's numbers for three seeds, a point apart: differences of two arms have no width."""
    return [
        {
            "mean": answered + each,
            "mean blind": 0.35,
            "true": true + each,
            "trained": 200_000.0,
            "all": 1_800_000.0,
            **{f"step {n}": answered * n / 800 + each for n in (200, 400, 600, 800)},
            **more,
        }
        for each in (-by, 0.0, by)
    ]


def stage1(full: float = 0.7, bare: float = 0.6, longer: float = 0.65) -> Measurement:
    """What blip2.stage1 finds."""
    scores = {"Q-Former": found(full), "without": found(bare), "without, longer": found(longer)}
    return second.compare_stage1(scores, SEEDS, SETTINGS)


def queries(*answered: float) -> Measurement:
    """What blip2.queries finds, from 1 to 32."""
    values = answered or (0.5, 0.6, 0.65, 0.7, 0.7, 0.7)
    scores = {f"{n} queries": found(v) for n, v in zip(second.COUNTS, values, strict=True)}
    return second.compare_queries(scores, SEEDS, SETTINGS)


def bottleneck(mine: float = 0.7, linear: float = 0.6, learning: float = 0.65) -> Measurement:
    """What blip2.bottleneck finds."""
    scores = {
        "Q-Former": found(mine),
        "linear": found(linear, trained=30_000.0),
        "language model too": found(learning, trained=400_000.0),
    }
    return second.compare_bottleneck(scores, SEEDS, SETTINGS)


def masked(recall: float = 0.9, leaking: float = 0.1, loss: float = 0.5) -> Measurement:
    """What blip2.masks finds: a leak's loss is lower by ``loss``."""

    def three(recall: float, true: float, itc: float, itg: float) -> Any:
        return [
            {"recall": recall + by, "true": true + by, "itc": itc + by, "itg": itg + by}
            for by in (-0.01, 0.0, 0.01)
        ]

    scores = {
        "right masks": three(recall, 0.5, 1.0, 1.8),
        "ITC leaks": three(leaking, 0.5, 1.0 - loss, 1.8),
        "ITG leaks": three(recall, 0.0, 1.0, 1.8 - loss),
    }
    return masks.compare(scores, SEEDS, SETTINGS)


def asked(decoder: float = 0.8, encoder: float = 0.75, blind: float = 0.4) -> Measurement:
    """What blip2.zero_shot_vqa finds; each interval is two points to either side."""
    values = {
        "decoder": decoder, "encoder–decoder": encoder, "decoder: blind": blind,
        "encoder–decoder: blind": blind, "most frequent": 0.42, "decoder: true": 0.8,
        "encoder–decoder: true": 0.8,
    }  # fmt: skip
    others = {
        f"{name}{end}": value + by
        for name, value in values.items()
        for end, by in (("", 0.0), (" low", -0.02), (" high", 0.02))
    }
    shown = {
        name: {kind: [value, value - 0.05, value + 0.05] for kind in QUESTION_KINDS}
        for name, value in values.items()
        if not name.endswith("true")
    }
    least = min(decoder, encoder)
    return Measurement(
        least, least - 0.02, least + 0.02, bootstrap=2000, others=others,
        figure={"by kind": shown, "kinds": list(QUESTION_KINDS)},
    )  # fmt: skip


ALL: dict[str, Measurement] = {
    "blip2.bottleneck": bottleneck(),
    "blip2.stage1": stage1(),
    "blip2.queries": queries(),
    "blip2.masks": masked(),
    "blip2.zero_shot_vqa": asked(),
}
