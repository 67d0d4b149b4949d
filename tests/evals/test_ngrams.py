"""BLEU and CIDEr: numbers of pycocoevalcap 1.2 on the same words, and cases by hand."""

from __future__ import annotations

import math

import pytest

from vlcourse.evals import ngrams
from vlcourse.evals.metrics import MetricError

TEXTS = ["A dog runs on the wet grass.", "two men in a boat", "a red bus"]
REFERENCES = [
    ["a brown dog runs on the grass", "the dog is running on wet grass"],
    ["two men sit in a boat", "two people in a small boat on a lake"],
    ["a red double decker bus on a street"],
]


def test_numbers_of_the_usual_package() -> None:
    bleus = [ngrams.bleu(TEXTS, REFERENCES, n) for n in (1, 2, 3, 4)]
    assert bleus == pytest.approx([0.6703200460, 0.5473140256, 0.4060174531, 0.2940635976])
    each = ngrams.cider(TEXTS, REFERENCES).tolist()
    assert each == pytest.approx([3.55870426, 3.08571908, 1.62159642])


def test_by_hand() -> None:
    assert ngrams.bleu(["the the the the"], [["the cat is here"]], 1) == pytest.approx(1 / 4)
    assert ngrams.bleu(["a b c d"], [["a b c d e f"]]) == pytest.approx(math.exp(1 - 6 / 4))
    assert ngrams.bleu(["a b c"], [["d e f"]]) == 0
    same = ["one red star", "two blue rings here"]
    perfect = ngrams.cider(same, [[text] for text in same]).tolist()
    assert perfect == pytest.approx([7.5, 10])  # three words have no 4-gram
    assert ngrams.cider(["a b"], [["a b"]]).tolist() == [0]  # one item alone: no word is rare


def test_texts_without_references() -> None:
    for texts, references in (([], []), (["a"], [[]]), (["a"], [["a"], ["b"]])):
        with pytest.raises(MetricError, match="reference"):
            ngrams.bleu(texts, references)
        with pytest.raises(MetricError, match="reference"):
            ngrams.cider(texts, references)
