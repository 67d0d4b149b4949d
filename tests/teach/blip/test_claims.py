"""The rules of BLIP's claims, on numbers made up here."""

from __future__ import annotations

import importlib

import blip_measured as made
import pytest
from blip_measured import UNCLEAR, verdict

from vlcourse.teach.blip import CLAIMS


def test_the_experiment_of_each_claim_is_there() -> None:
    for claim in CLAIMS:
        module, function = claim.experiment.split(":")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    ("tasks", "word"),
    [
        ({}, "holds"),
        ({"relations": 0.72}, UNCLEAR),  # above chance, and nearer to it than to 100 %
        ({"relations": 0.79}, "holds"),
        ({"answers": 0.42}, "fails"),  # its interval reaches down to blind answers
        ({"recall": 0.45}, UNCLEAR),
    ],
)
def test_tasks_wants_each_task_nearer_to_all_than_to_not_looking(
    tasks: dict[str, float], word: str
) -> None:
    said = verdict("blip.tasks", made.four(**tasks))
    assert said.word == word
    assert "answers" in said.reason and "without looking 40.0 %" in said.reason
    assert "all tasks minus one of writing only: true captions +1.0" in said.reason


@pytest.mark.parametrize(
    ("hard", "random", "word"), [(0.8, 0.6, "holds"), (0.6, 0.8, "fails"), (0.7, 0.7, UNCLEAR)]
)
def test_hard_negatives_is_about_relations(hard: float, random: float, word: str) -> None:
    result = made.negatives(hard, random)
    assert result.measured == pytest.approx(hard - random)
    said = verdict("blip.hard_negatives", result)
    assert said.word == word
    assert f"hard {100 * hard:.1f} %, random {100 * random:.1f} %" in said.reason
    assert "true captions 0.0 (0.0 to 0.0)" in said.reason


@pytest.mark.parametrize(
    ("arms", "toy", "word"),
    [
        (0.04, 0.05, "holds"),
        (0.04, 0.02, UNCLEAR),
        (0.02, 0.05, UNCLEAR),
        (0.04, -0.05, "fails"),
        (-0.04, 0.05, "fails"),
    ],
)
def test_rerank_must_help_the_arms_and_the_model_that_ships(
    arms: float, toy: float, word: str
) -> None:
    said = verdict("blip.rerank", made.reranked(arms, toy))
    assert said.word == word and "small arms from 80.0 to 84.0 %" in said.reason


def test_sharing_holds_above_all_others_in_both() -> None:
    others = dict.fromkeys(("all", "all-but-ca", "none"), 0.85)
    result = made.shared(others, others)
    assert result.measured == pytest.approx(0.05)
    said = verdict("blip.sharing", result)
    assert said.word == "holds" and "no clear difference" not in said.reason
    assert "50 % of the parameters of sharing nothing" in said.reason


def test_sharing_does_not_show_where_some_differ_and_fails_where_another_is_above() -> None:
    some = made.shared({"all": 0.85}, {})
    assert some.measured == pytest.approx(0)  # against the best of the others
    said = verdict("blip.sharing", some)
    assert said.word == UNCLEAR
    assert "against sharing all: recall@1 +5.0" in said.reason
    assert said.reason.count("no clear difference") == 2
    assert verdict("blip.sharing", made.shared({"all": 0.85}, {"none": 0.95})).word == "fails"
