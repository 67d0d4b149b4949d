"""The talkers: found by name, and what each does with a question."""

from __future__ import annotations

import pytest
import torch

from vlcourse.chat import ChatError, talkers
from vlcourse.data.media import Media
from vlcourse.data.world import Scene


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [Scene.sample(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def film(scenes: list[Scene]) -> Media:
    return Media("film", torch.stack([s.render(64) for s in scenes]), (0.0, 1.0, 2.0), 3.0)


def test_blip_answers_about_the_frame_in_the_middle(scenes: list[Scene], film: Media) -> None:
    talker = talkers.find("blip-toy-vqa")
    assert talker.account(film).times == (1.0,)
    asked = scenes[1].questions()[:6]
    right = ["".join(talker.answer(film, q.text)) == q.answer for q in asked]
    assert sum(right) >= 5, right
    other = "".join(talker.answer(film, "  What COLOUR\nis the triangle? "))
    assert other == "".join(talker.answer(film, "what colour is the triangle?"))


@pytest.mark.parametrize(("question", "said"), [(" \n", "no question"), ("why " * 999, "too long")])
def test_no_question_and_one_without_end_are_refused_at_once(
    film: Media, question: str, said: str
) -> None:
    with pytest.raises(ChatError, match=said):
        talkers.find("blip-toy-vqa").answer(film, question)


def test_a_name_that_is_not_known_is_answered_with_the_nearest() -> None:
    with pytest.raises(ChatError, match="blip-toy-vqa"):
        talkers.find("blip-toy-vq")


def test_a_talker_whose_model_was_never_trained_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer = talkers.Offer("tall", "", lambda: pytest.fail("made"), ("not-trained",))
    monkeypatch.setattr(talkers, "OFFERS", (offer,))
    assert not offer.ready and offer.missing == ("not-trained",)
    with pytest.raises(ChatError, match="vlcourse checkpoints not-trained"):
        talkers.find("tall")
