"""BLIP-2's rules: what holds, what fails, what does not show; and what they tell."""

from __future__ import annotations

import blip2_measured as made
import pytest
from blip2_measured import UNCLEAR, verdict

from vlcourse.teach.blip2.claims import CLAIMS


def test_every_claim_can_be_judged() -> None:
    assert {claim.id for claim in CLAIMS} == set(made.ALL)
    for id, result in made.ALL.items():
        assert verdict(id, result).word == "holds", id


@pytest.mark.parametrize(
    ("bare", "longer", "word"), [(0.6, 0.7, UNCLEAR), (0.7, 0.6, UNCLEAR), (0.6, 0.8, "fails")]
)
def test_stage_1_must_help_at_equal_steps_in_all_as_well(
    bare: float, longer: float, word: str
) -> None:
    said = verdict("blip2.stage1", made.stage1(0.7, bare, longer))
    assert said.word == word and "has the first one's steps as well" in said.reason


def test_queries_say_how_few_are_as_good_as_the_most() -> None:
    said = verdict("blip2.queries", made.queries())
    assert "clearly less than 32: 1, 2, 4;" in said.reason
    assert "no clear difference from 32: 8, 16;" in said.reason
    assert verdict("blip2.queries", made.queries(*[0.7] * 6)).word == UNCLEAR
    assert verdict("blip2.queries", made.queries(0.8, *[0.7] * 5)).word == "fails"


@pytest.mark.parametrize(
    ("linear", "learning", "word"),
    [(0.6, 0.7, "holds"), (0.6, 0.8, "fails"), (0.7, 0.6, UNCLEAR), (0.8, 0.6, "fails")],
)
def test_a_bottleneck_must_beat_a_linear_layer_and_not_lose_to_more_training(
    linear: float, learning: float, word: str
) -> None:
    said = verdict("blip2.bottleneck", made.bottleneck(0.7, linear, learning))
    assert said.word == word and "Q-Former 11 %, linear 2 %" in said.reason


@pytest.mark.parametrize(
    ("leaking", "loss", "word"),
    [(0.1, 0.5, "holds"), (0.9, 0.5, UNCLEAR), (0.1, 0.0, UNCLEAR), (0.95, 0.5, "fails")],
)
def test_a_leak_must_lower_the_loss_and_the_retrieval(
    leaking: float, loss: float, word: str
) -> None:
    said = verdict("blip2.masks", made.masked(0.9, leaking, loss))
    assert said.word == word and "true captions +50.0" in said.reason


@pytest.mark.parametrize(
    ("decoder", "encoder", "word"),
    [(0.8, 0.75, "holds"), (0.43, 0.75, UNCLEAR), (0.8, 0.3, "fails")],
)
def test_both_models_must_see(decoder: float, encoder: float, word: str) -> None:
    said = verdict("blip2.zero_shot_vqa", made.asked(decoder, encoder))
    assert said.word == word and "the most frequent answer 42.0" in said.reason
