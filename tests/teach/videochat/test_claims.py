"""VideoChat's rules: what holds, what fails, what does not show; and what they tell."""

from __future__ import annotations

from typing import Any

import pytest
import videochat_measured as made
from videochat_measured import UNCLEAR, verdict

from vlcourse.teach.videochat.claims import CLAIMS


def test_every_claim_can_be_judged() -> None:
    assert {claim.id for claim in CLAIMS} == set(made.ALL)
    for id, result in made.ALL.items():
        assert verdict(id, result).word == "holds", id


@pytest.mark.parametrize(
    ("id", "make"), [("videochat.gmhra", made.gmhra), ("videochat.stages", made.both)]
)
def test_a_difference_is_judged_by_its_interval(id: str, make: Any) -> None:
    assert [verdict(id, make(0.5, b)).word for b in (0.3, 0.5, 0.7)] == ["holds", UNCLEAR, "fails"]


@pytest.mark.parametrize(
    ("less", "word"),
    [
        ({"middle": 0.8}, UNCLEAR),
        ({"pooled": 0.8}, UNCLEAR),
        ({"alone": 0.8}, UNCLEAR),
        ({"glance": 0.8}, UNCLEAR),
        ({"middle": 0.9}, "fails"),
        ({"pooled": 0.9}, "fails"),
    ],
)
def test_a_film_must_answer_more_than_all_that_shows_less(
    less: dict[str, float], word: str
) -> None:
    assert verdict("videochat.temporal", made.temporal(**less)).word == word


def test_where_text_loses_is_named() -> None:
    said = verdict("videochat.text_loses", made.texts())
    assert "kinds that clearly lose: order, direction, localisation, cause" in said.reason
    assert verdict("videochat.text_loses", made.texts(True, True)).word == UNCLEAR
    assert verdict("videochat.text_loses", made.texts(False, True)).word == "fails"


def test_a_clock_is_judged_and_the_sentence_is_told() -> None:
    words = [verdict("videochat.timestamps", made.timestamps(x)).word for x in (0.3, 0.8, 1.3)]
    assert words == ["holds", UNCLEAR, "fails"]
    said = verdict("videochat.timestamps", made.timestamps(said=0.5)).reason
    assert "order alone minus order with the sentence 0.3 (0.3 to 0.3) s" in said
