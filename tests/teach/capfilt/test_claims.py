"""The rules of CapFilt's claims, on numbers made up here."""

from __future__ import annotations

import importlib

import blip_measured as made
import pytest
from blip_measured import UNCLEAR, verdict

from vlcourse.teach.capfilt import CLAIMS


def test_the_experiment_of_each_claim_is_there() -> None:
    for claim in CLAIMS:
        module, function = claim.experiment.split(":")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    ("recall", "true", "word"),
    [
        (0.9, 0.9, "holds"),
        (0.9, 0.82, UNCLEAR),  # the intervals of the two arms overlap
        (0.9, 0.7, "fails"),
        (0.8, 0.8, UNCLEAR),
    ],
)
def test_capfilt_wants_the_arms_apart_in_both(recall: float, true: float, word: str) -> None:
    result = made.table({"both": recall}, {"both": true})
    assert result.measured == pytest.approx(recall - 0.8)
    said = verdict("blip.capfilt", result)
    assert said.word == word
    assert "the filter on web texts: precision 92.0 % at recall 95.0 %" in said.reason
    assert "alone, recall@1: web 80.0 %, filter 80.0 %, captioner 80.0 %" in said.reason
    assert "same clean pairs: recall@1 0.0 (0.0 to 0.0), no clear difference" in said.reason


@pytest.mark.parametrize("other", ["beam", "shared"])
@pytest.mark.parametrize(
    ("recall", "true", "word"),
    [
        (0.7, 0.7, "holds"),
        (0.7, 0.8, UNCLEAR),
        (0.7, 0.9, UNCLEAR),  # better in one, worse in the other
        (0.8, 0.9, "fails"),
        (0.9, 0.9, "fails"),
    ],
)
def test_two_ways_are_judged_by_what_is_learned(
    other: str, recall: float, true: float, word: str
) -> None:
    id = {"beam": "blip.diversity", "shared": "blip.decouple"}[other]
    result = made.two(other, recall, true)
    assert result.measured == pytest.approx(0.8 - recall)
    said = verdict(id, result)
    assert said.word == word
    names = {"beam": ("nucleus", "beam"), "shared": ("separate", "shared")}[other]
    assert f"{names[0]}: 85 % of the texts true, 20 % dropped" in said.reason
    assert f"{names[1]}: 95 % of the texts true, 5 % dropped" in said.reason
