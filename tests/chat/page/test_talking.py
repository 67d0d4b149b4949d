"""What a visitor chooses is shown, and what they ask is answered or politely refused."""

from __future__ import annotations

from html import escape

import pytest
from chat_fakes import Visitor
from chat_house import House, refusal

from vlcourse.chat import talk as talks
from vlcourse.chat.examples import EXAMPLES
from vlcourse.chat.serve import serving
from vlcourse.data.world import Scene

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [list(EXAMPLES)[0], list(EXAMPLES)[-1]])
def test_every_example_is_shown_with_its_seconds(name: str, house: House, visitor: Visitor) -> None:
    shown, said = visitor.choose(name)
    media, questions, film = EXAMPLES[name].shown()
    assert not said and ("<video" in shown) == bool(film) == (not media.still)
    seconds = [f"{time:.1f} s" for time in media.times]
    assert media.still or all(shown.count(s) for s in (seconds[0], seconds[-1]))
    assert len(questions) >= 5 and "http" not in shown


def test_an_answer_grows_and_is_remembered(visitor: Visitor) -> None:
    visitor.choose("picture: two circles and a square")
    steps = [text for text, _ in visitor.steps("  what \n is it? ")]
    assert steps[0] == "…" and len(steps) >= 4
    assert all(b.startswith(a) for a, b in zip(steps[1:], steps[2:], strict=False))
    assert visitor.ask("again").endswith("after 1 turns")
    assert visitor.ask("the other side", "right").endswith("after 0 turns")
    visitor.choose("picture: two circles and a square")
    assert visitor.ask("anew").endswith("after 0 turns")


def test_what_a_talker_saw_is_shown_as_text_with_its_attention(visitor: Visitor) -> None:
    visitor.choose("film: three that move")
    seen = visitor.look()
    assert escape("<b>a film</b> & ${7 * 7}") in seen and "attention of 3 tokens over 4" in seen
    assert seen.count("<figure>") == 4 and seen.count("<b title=") == 4


def test_a_model_of_the_course_answers_about_a_picture() -> None:
    picture, questions = list(EXAMPLES)[-1], EXAMPLES[list(EXAMPLES)[-1]].shown()[1]
    with serving(0) as address:
        visitor = Visitor(address)
        visitor.choose(picture)
        assert "the picture" in visitor.look()
        said = [visitor.ask(question) for question in questions]
    scene = Scene.sample(EXAMPLES[picture].seed, split="test", n_objects=3)
    truth = {question.text: question.answer for question in scene.questions()}
    right = [answer == truth[question] for answer, question in zip(said, questions, strict=True)]
    assert sum(right) >= len(right) - 1, dict(zip(questions, said, strict=True))


def test_questions_without_words_or_without_end(visitor: Visitor) -> None:
    for question, said in (("", "no question"), (" \n ", "no question"), ("a " * 1500, "too long")):
        words, _, notice = visitor.client.predict(question, api_name="/ask")
        assert not words and said in refusal(notice)
    assert "choose something" in refusal(visitor.client.predict("what?", api_name="/ask")[2])
    assert "choose something" in refusal(visitor.steps("what?")[-1][1])


def test_what_a_talker_refuses_or_breaks_on_is_said_and_not_remembered(
    visitor: Visitor, capfd: pytest.CaptureFixture[str]
) -> None:
    visitor.choose("picture: two circles and a square")
    assert refusal(visitor.steps("please refuse")[-1][1]) == "no, thank you"
    assert "a bug" not in capfd.readouterr().err
    assert refusal(visitor.steps("please break")[-1][1]) == talks.FAILED
    assert "a bug" in capfd.readouterr().err
    assert visitor.ask("well?").endswith("after 0 turns")
