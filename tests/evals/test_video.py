"""Questions about films: which are asked, how answers are judged, what the shipped reader says."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from vlcourse import zoo
from vlcourse.data.collate.text import TextCollate
from vlcourse.data.corpus.films import film
from vlcourse.data.world import HELD_OUT
from vlcourse.data.world.video_questions import VIDEO_KINDS, VideoQuestion, in_tags
from vlcourse.evals import video
from vlcourse.generate import generate
from vlcourse.recipes import RECIPES, SHIPPED
from vlcourse.tokenizers import sentence_bpe

COLLATE = TextCollate(sentence_bpe.toy(), 512, end=False)


def question(kind: str, answer: str) -> VideoQuestion:
    return VideoQuestion("", answer, kind)


def test_as_many_questions_of_each_kind_about_unseen_pairs() -> None:
    asked = video.film_questions(per_kind=10)
    assert Counter(q.kind for _, q in asked) == dict.fromkeys(VIDEO_KINDS, 10)
    for script, _ in asked:
        assert any((actor.colour, actor.shape) in HELD_OUT for actor in script.actors)
    assert asked == video.film_questions(per_kind=10) != video.film_questions(per_kind=10, seed=1)
    tagged = video.film_questions(per_kind=10, as_tags=True)
    assert {q.kind for _, q in tagged} == set(VIDEO_KINDS) - {"cause", "direction"}
    assert all(in_tags(script, q) for script, q in tagged)


@pytest.mark.parametrize(
    ("kind", "true", "answer", "within", "right"),
    [
        ("order", "red ring", "red ring.", 0, True),
        ("order", "red ring", "The red ring", 0, True),
        ("order", "red ring", "ring", 0, False),
        ("localisation", "3 s", "3", 0, True),
        ("localisation", "3 s", "at 4 s.", 0, False),
        ("localisation", "3 s", "at 4 s.", 1, True),
        ("localisation", "3 s", "5 s", 1, False),
        ("localisation", "3 s", "I do not know", 1, False),
        ("counting", "2", "2.", 0, True),
        ("counting", "2", "3.", 1, False),
        ("cause", "the red ring hit it", "the red ring hit it.", 0, True),
        ("cause", "the red ring hit it", "the blue ring hit it.", 0, False),
    ],
)
def test_how_an_answer_is_judged(
    kind: str, true: str, answer: str, within: float, right: bool
) -> None:
    assert video.right(question(kind, true), answer, within) is right


def test_scores_by_kind() -> None:
    asked = video.film_questions("test", per_kind=4)
    perfect = video.score(asked, [q.answer for _, q in asked])
    assert set(perfect.values()) == {1.0}
    late = [f"{q.seconds + 1:.0f} s" if q.seconds else q.answer for _, q in asked]
    scores = video.score(asked, late)
    assert scores["localisation"] == scores["worst"] == 0 and scores[video.NEAR] == 1
    assert scores["temporal"] == 1
    nothing = video.score(asked, [""] * len(asked))
    assert set(nothing.values()) == {0.0}
    some = [(s, q) for s, q in asked if q.kind == "order"]
    assert video.score(some, [q.answer for _, q in some]) == {"order": 1.0}
    with pytest.raises(ValueError, match="28 questions, but 1 answers"):
        video.marks(asked, [""])


reader = pytest.mark.skipif("llm-time" not in SHIPPED, reason="llm-time is not shipped yet")


@reader
def test_the_shipped_reader_reads_time() -> None:
    scores = video.reading(zoo.load("llm-time"), COLLATE, per_kind=60)
    assert scores["worst"] >= 0.9, scores  # the card says more precisely, on more questions
    assert round(zoo.card("llm-time")["metrics"]["worst"], 4) >= 0.95  # a mean of float32s


@reader
def test_what_is_judged_is_what_the_model_would_write() -> None:
    model = zoo.load("llm-time")
    asked = video.film_questions("test", per_kind=3)
    for (script, q), answer in zip(asked, video.read_answers(model, COLLATE, asked), strict=True):
        parts = film(script, [q])
        prompt = [COLLATE.tokenizer.bos]
        for text, _ in parts[:-1]:
            prompt += COLLATE.tokenizer.encode(text)
        end = COLLATE.tokenizer.encode(".")[-1]
        written = generate(model, torch.tensor([prompt]), max_new_tokens=12, end=end)
        said = COLLATE.tokenizer.decode(written[0].tolist()).split(".")[0]
        assert video.right(q, said) == video.right(q, answer)


@reader
def test_the_reader_still_reads_about_pictures() -> None:
    metrics = zoo.card("llm-time")["metrics"]
    before = zoo.card("llm-toy")["metrics"]
    assert metrics["picture: worst"] >= before["worst"] - 0.03
    assert RECIPES["llm-time"].parts[0].source == "llm-toy"
