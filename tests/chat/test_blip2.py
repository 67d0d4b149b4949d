"""BLIP-2 as a talker: what it says is what is measured of it, about the frame in the middle."""

from __future__ import annotations

import pytest

from vlcourse import zoo
from vlcourse.chat import ChatError, talkers
from vlcourse.chat.blip2 import BLIP2Talker
from vlcourse.data.media import Media
from vlcourse.data.world import Scene
from vlcourse.evals import pictured

NAMES = ("blip2-toy-llm", "blip2-toy-seq2seq")


@pytest.fixture(scope="module", params=NAMES)
def talker(request: pytest.FixtureRequest) -> BLIP2Talker:
    return BLIP2Talker(request.param)


def test_its_answers_are_those_that_are_measured(talker: BLIP2Talker, film: Media) -> None:
    scenes = [Scene.sample(seed, n_objects=2) for seed in range(4)]
    size = talker.model.config.image.image_size
    asked = [(scene, question) for scene in scenes for question in scene.questions()[:5]]
    measured = pictured.answers(talker.model, zoo.find(talker.name).tokenizer(), asked)
    said = [
        "".join(talker.answer(Media("a", scene.render(size)[None], (0.0,)), question.text))
        for scene, question in asked
    ]
    assert said == measured
    right = sum(a == question.answer for a, (_, question) in zip(said, asked, strict=True))
    assert right >= 0.7 * len(asked), list(zip(said, asked, strict=True))


def test_of_a_film_it_sees_the_middle_and_small_letters_only(
    talker: BLIP2Talker, film: Media
) -> None:
    middle = film.uniform(1)
    assert talker.account(film).times == middle.times
    still = Media("middle", middle.frames, (0.0,))
    question = "what colour is the square?"
    assert "".join(talker.answer(film, " WHAT colour\nis the square? ")) == "".join(
        talker.answer(still, question)
    )


def test_a_question_that_no_context_holds_is_refused(film: Media) -> None:
    with pytest.raises(ChatError, match="ask in fewer words"):
        BLIP2Talker("blip2-toy-llm").answer(film, "什么" * 300)


@pytest.mark.parametrize("question", [" \n", "why " * 999])
def test_no_question_and_one_without_end(film: Media, question: str) -> None:
    with pytest.raises(ChatError):
        talkers.find("blip2-toy-seq2seq").answer(film, question)


def test_another_kind_of_model_is_refused() -> None:
    with pytest.raises(ChatError, match="blip-toy-vqa is a BLIPAnswerer"):
        BLIP2Talker("blip-toy-vqa")
