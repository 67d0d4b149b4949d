"""The adapters' rules: what holds, what fails, what does not show; and what they tell."""

from __future__ import annotations

from typing import Any

import adapter_measured as made
import pytest
from adapter_measured import UNCLEAR, verdict

from vlcourse.teach.adapter.claims import CLAIMS


def test_every_claim_can_be_judged() -> None:
    assert {claim.id for claim in CLAIMS} == set(made.ALL)
    for id, result in made.ALL.items():
        assert verdict(id, result).word == "holds", id


@pytest.mark.parametrize(
    ("id", "make"),
    [
        ("adapter.zero_init", made.zero_init),
        ("adapter.v2_early", made.early),
        ("adapter.v2_expert", made.helped),
    ],
)
def test_a_difference_is_judged_by_its_interval(id: str, make: Any) -> None:
    assert [verdict(id, make(0.5, b)).word for b in (0.3, 0.5, 0.7)] == ["holds", UNCLEAR, "fails"]


@pytest.mark.parametrize(
    ("v1", "share", "word"),
    [(0.9, 0.017, "holds"), (0.9, 0.03, UNCLEAR), (0.855, 0.017, UNCLEAR), (0.5, 0.017, "fails")],
)
def test_version_1_needs_95_percent_of_the_score_with_2_of_the_parameters(
    v1: float, share: float, word: str
) -> None:
    assert verdict("adapter.cost", made.cost(v1, share=share)).word == word


def test_the_cost_says_which_share_is_enough() -> None:
    said = verdict("adapter.cost", made.cost(0.5)).reason
    assert "95 % of the full score, in the mean: LoRA, 1.3 %" in said
    assert "V1: 50.0 (47.5 to 52.5) % with 1.7 % of the parameters, 7.64 KiB, 100 ms" in said
    for lora in (0.5, 0.85):  # of .9; the interval of the second reaches 95 % of it
        assert "none here" in verdict("adapter.cost", made.cost(0.5, lora)).reason


@pytest.mark.parametrize(
    ("alike", "bare", "word"), [(0.9, 0.3, UNCLEAR), (0.3, 0.9, UNCLEAR), (0.95, 0.3, "fails")]
)
def test_biases_must_beat_prompts_of_their_size_and_their_own(
    alike: float, bare: float, word: str
) -> None:
    assert verdict("adapter.v2_bias", made.bias(0.9, alike, bare)).word == word


@pytest.mark.parametrize(
    ("shared", "alone", "word"),
    [
        ((0.6, 0.8), (0.81, 0.91), "holds"),
        ((0.6, 0.8), (0.85, 0.9), UNCLEAR),  # captions five points below training on them alone
        ((0.6, 0.8), (0.8, 0.95), UNCLEAR),
        ((0.9, 0.8), (0.8, 0.9), UNCLEAR),
        ((0.9, 0.9), (0.85, 0.9), "fails"),
    ],
)
def test_disjoint_groups_must_beat_shared_ones_and_stay_near_to_each_task_alone(
    shared: tuple[float, float], alone: tuple[float, float], word: str
) -> None:
    said = verdict("adapter.v2_disjoint", made.joint((0.8, 0.9), shared, alone))
    assert said.word == word and "captions true: disjoint 80.0" in said.reason
