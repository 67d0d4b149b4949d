"""What the experiments of VideoChat's claims find, with numbers made up here."""

from __future__ import annotations

from typing import Any

import torch

from vlcourse.data.filmed import SEEN_KINDS
from vlcourse.evals import video
from vlcourse.teach import claims
from vlcourse.teach.measurement import Measurement, Verdict
from vlcourse.teach.videochat.experiments import arms, stages, systems, trained

SEEDS = (0, 1, 2)
SETTINGS = arms.Settings()
UNCLEAR = "does not show here"
APART = (-0.01, 0.0, 0.01)  # from seed to seed; differences of two arms have no width


def verdict(id: str, result: Measurement) -> Verdict:
    """What the ledger says of a measurement."""
    found = claims.judge(id, result).verdict
    assert found is not None
    return found


def arm(score: float, off: float = 1.0) -> list[dict[str, float]]:
    """An arm's numbers for three seeds."""
    kinds = (*SEEN_KINDS, video.NEAR, "temporal", "mean")
    return [
        {
            **dict.fromkeys(kinds, score + by), "off": off + by, "off 6": off + by,
            "off 9": off + by, "trained": 100.0, "validation": 2 - score + by,
            **{f"loss {n}": 2 - score + 1 / n for n in (50, 100, 150, 200)},
        }
        for by in APART
    ]  # fmt: skip


def marks(share: float) -> dict[str, torch.Tensor]:
    """Of ten questions of each kind, the first ones are answered."""
    right = (torch.arange(10) < round(10 * share)).float()
    return dict.fromkeys((*SEEN_KINDS, video.NEAR), right)


def temporal(
    full: float = 0.8, middle: float = 0.4, pooled: float = 0.5, glance: float = 0.3,
    alone: float = 0.2,
) -> Measurement:  # fmt: skip
    """What videochat.temporal finds; the shipped model answers 80 %."""
    scores = {arms.ALL: arm(full), arms.MIDDLE: arm(middle), arms.POOLED: arm(pooled)}
    seen: dict[str, Any] = {
        systems.EMBED: marks(0.8), systems.GLANCE: marks(glance), systems.LANGUAGE: marks(alone),
        systems.TEXT: marks(0.9),
    }  # fmt: skip
    return systems.compare_temporal(scores, seen, SEEDS, SETTINGS)


def texts(told: bool = True, tags: bool = False) -> Measurement:
    """What videochat.text_loses finds where a text gives all answers, or none."""
    asked = video.film_questions("heldout", 6)
    right, wrong = [q.answer for _, q in asked], ["nothing"] * len(asked)
    answers = {
        systems.TOLD: right if told else wrong, systems.TAGS: right if tags else wrong,
        systems.TOOLS: wrong,
    }  # fmt: skip
    return systems.compare_texts(asked, answers, SETTINGS)


def gmhra(looks: float = 0.7, mean: float = 0.5, bare: float = 0.4) -> Measurement:
    """What videochat.gmhra finds."""
    scores = {arms.ALL: arm(looks), arms.MEAN: arm(mean), arms.NO_LOCAL: arm(bare)}
    return trained.compare_gmhra(scores, SEEDS, SETTINGS)


def timestamps(seconds: float = 0.3, order: float = 0.8, said: float = 0.8) -> Measurement:
    """What videochat.timestamps finds, seconds off."""
    scores = {
        arms.ALL: arm(0.7, seconds), arms.ORDER: arm(0.7, order), arms.SENTENCE: arm(0.7, said)
    }  # fmt: skip
    return trained.compare_timestamps(scores, SEEDS, SETTINGS)


def both(two: float = 0.7, one: float = 0.5) -> Measurement:
    """What videochat.stages finds."""
    scores = {stages.TWO: arm(two), stages.ONE: arm(one)}
    return stages.compare_stages(scores, SEEDS, SETTINGS)


ALL: dict[str, Measurement] = {
    "videochat.temporal": temporal(),
    "videochat.text_loses": texts(),
    "videochat.gmhra": gmhra(),
    "videochat.timestamps": timestamps(),
    "videochat.stages": both(),
}
