"""What the experiments of the adapters' claims find, with numbers made up here."""

from __future__ import annotations

from typing import Any

from vlcourse.data.corpus.instructions import INSTRUCTION_KINDS
from vlcourse.teach import claims
from vlcourse.teach.adapter.experiments import expert, seen, told
from vlcourse.teach.adapter.experiments.arms import Settings
from vlcourse.teach.measurement import Measurement, Verdict

SEEDS = (0, 1, 2)
SETTINGS = Settings()
UNCLEAR = "does not show here"
APART = (-0.01, 0.0, 0.01)  # from seed to seed; differences of two arms have no width


def verdict(id: str, result: Measurement) -> Verdict:
    """What the ledger says of a measurement."""
    found = claims.judge(id, result).verdict
    assert found is not None
    return found


def followed(score: float, **others: float) -> list[dict[str, float]]:
    """An arm's numbers for three seeds."""
    return [
        {
            **dict.fromkeys((*INSTRUCTION_KINDS, "known", "score"), score + by),
            "step 100": score / 2 + by, "step 200": score + by,
            **{f"loss {n}": 2 - score / 2 + 1 / n for n in (50, 100, 150, 200)},
            **others,
        }
        for by in APART
    ]  # fmt: skip


def gates(value: float) -> dict[str, float]:
    """Those of two layers of two heads."""
    return {f"gate {i} {j}": value for i in (0, 1) for j in (0, 1)}


def zero_init(closed: float = 0.5, opened: float = 0.3) -> Measurement:
    """What adapter.zero_init finds."""
    scores = {
        told.V1: followed(closed, **gates(0.4)), told.RANDOM: followed(opened, **gates(-0.8))
    }  # fmt: skip
    return told.compare_zero_init(scores, SEEDS, SETTINGS)


SHARES = {
    told.FULL: 1.0, told.LORA: 0.013, told.V1: 0.017, told.V2: 0.022, "LoRA, rank 1": 0.003,
    "LoRA, rank 16": 0.053, told.ALIKE: 0.022, "V1, 100 prompts": 0.083,
}  # fmt: skip


def cost(v1: float = 0.9, lora: float = 0.9, share: float = 0.017) -> Measurement:
    """What adapter.cost finds; all parameters follow 90 %, what is not named 50 %."""
    values = {told.FULL: 0.9, told.V1: v1, told.LORA: lora}
    shares = SHARES | {told.V1: share}
    scores = {
        name: followed(
            values.get(name, 0.5), share=part, trained=230_000 * part, bytes=460_000 * part
        )
        for name, part in shares.items()
    }
    timed = {name: 0.1 + part / 100 for name, part in shares.items()}
    return told.compare_cost(scores, timed, SEEDS, SETTINGS)


def bias(tuned: float = 0.9, alike: float = 0.4, bare: float = 0.3) -> Measurement:
    """What adapter.v2_bias finds."""
    values = {told.V2: tuned, told.ALIKE: alike, told.BARE: bare}
    scores = {n: followed(v, trained=5000.0, share=0.022) for n, v in values.items()}
    return told.compare_bias(scores, SEEDS, SETTINGS)


def joint(
    disjoint: tuple[float, float] = (0.8, 0.9),
    shared: tuple[float, float] = (0.6, 0.8),
    alone: tuple[float, float] = (0.8, 0.9),
) -> Measurement:
    """What adapter.v2_disjoint finds: captions true and instructions followed of each arm."""
    scores: dict[str, Any] = {
        seen.DISJOINT: _both(*disjoint), seen.SHARED: _both(*shared),
        "captions alone": _both(alone[0], 0.1), "instructions alone": _both(0.0, alone[1]),
    }  # fmt: skip
    return seen.compare_disjoint(scores, SEEDS, SETTINGS)


def _both(captions: float, score: float) -> list[dict[str, float]]:
    return [
        own | {"captions": captions + by} for own, by in zip(followed(score), APART, strict=True)
    ]


def early(first: float = 0.7, last: float = 0.5) -> Measurement:
    """What adapter.v2_early finds."""
    scores = {seen.EARLY: followed(first, blind=0.3), seen.LATE: followed(last, blind=0.3)}
    return seen.compare_early(scores, SEEDS, SETTINGS)


def helped(both: float = 0.8, picture: float = 0.5) -> Measurement:
    """What adapter.v2_expert finds."""
    values = {"both": both, "picture": picture, "caption": 0.7}
    found = [
        {f"{how}: {kind}": v + by for how, v in values.items()
         for kind in (*INSTRUCTION_KINDS, "score")}
        for by in APART
    ]  # fmt: skip
    true = {"": 0.95, " low": 0.93, " high": 0.97}
    return expert.compare({"joint": found}, true, SEEDS, SETTINGS)


ALL: dict[str, Measurement] = {
    "adapter.zero_init": zero_init(),
    "adapter.cost": cost(),
    "adapter.v2_bias": bias(),
    "adapter.v2_disjoint": joint(),
    "adapter.v2_early": early(),
    "adapter.v2_expert": helped(),
}
