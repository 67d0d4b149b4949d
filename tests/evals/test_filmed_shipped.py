"""The VideoChat that ships answers what only the whole film tells."""

from __future__ import annotations

from vlcourse import zoo
from vlcourse.data.world.video_questions import TEMPORAL
from vlcourse.evals import filmed
from vlcourse.evals.video import film_questions, score
from vlcourse.recipes import RECIPES


def test_videochat_toy_needs_the_film_and_answers_from_it() -> None:
    recipe = RECIPES["videochat-toy"]
    model = filmed.as_videochat(zoo.load("videochat-toy"))
    collate = recipe.collate(train=False)
    asked = film_questions("test", 25, TEMPORAL, seed=31)
    count = recipe.data.frames
    whole = score(asked, filmed.answers(model, collate, asked, count=count))
    middle = score(asked, filmed.answers(model, collate, asked, count=count, shown="middle"))
    assert whole["temporal"] >= 0.8, whole
    assert middle["temporal"] <= 0.55, middle


def test_the_card_says_so_of_more_questions_and_of_unseen_compositions() -> None:
    metrics = zoo.card("videochat-toy")["metrics"]
    assert metrics["known: temporal"] >= 0.8 and metrics["known: temporal middle"] <= 0.55
    assert metrics["temporal"] >= 0.7 and metrics["temporal middle"] <= 0.55
