"""Visitors, their talks and their files, without a page."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from chat_fakes import Parrot, plain

from vlcourse.chat import ChatError, talk, talkers
from vlcourse.chat.talk import Cast, Talk
from vlcourse.chat.visits import IDLE, Visits
from vlcourse.data.media import Media

MEDIA = Media("grey", torch.full((1, 3, 8, 8), 136, dtype=torch.uint8), (0.0,))


def upload(folder: Path, name: str = "a.png") -> Path:
    """A file as Gradio lays it down."""
    folder.mkdir()
    return plain(folder / name, "red")


def test_a_visit_that_is_never_closed_ends_after_an_hour(tmp_path: Path) -> None:
    now = [0.0]
    visits = Visits(tmp_path, lambda: now[0])
    (first := visits.of("first")).begin(None, visits.take(upload(tmp_path / "sent")).parent)
    now[0] = IDLE
    assert visits.of("second") is not first and len(visits) == 2
    assert len(list(tmp_path.rglob("*.png"))) == 1
    now[0] += 1
    assert len([visits.of("second")]) == len(visits) and not list(tmp_path.rglob("*.png"))
    assert visits.of("first") is not first and visits.of("first").talk is None


def test_an_upload_leaves_its_place_and_one_that_is_gone_is_refused(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    sent = upload(tmp_path / "sent")
    taken = visits.take(sent)
    assert taken.is_file() and not sent.parent.exists()
    again = visits.take(sent)  # somebody else sent the same at the same time
    assert again != taken and again.samefile(taken)
    for path in (taken, again):
        path.unlink()
    with pytest.raises(ChatError, match="upload it again"):
        visits.take(sent)
    assert len(list(tmp_path.iterdir())) == 2  # the two empty folders, no third one


def test_what_cannot_be_opened_is_deleted(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    sent = upload(tmp_path / "sent")
    sent.write_text("words")
    with pytest.raises(ChatError, match=r"a\.png"):
        visits.bring("me", sent, Cast(Parrot))
    assert not list(tmp_path.iterdir()) and visits.of("me").talk is None


def test_a_talker_is_loaded_once_for_all() -> None:
    made: list[str] = []
    cast = Cast(lambda name: made.append(name) or Parrot(name))  # type: ignore[func-returns-value]
    talks = [Talk(MEDIA, cast) for _ in range(3)]
    assert {list(one.answer(("left", "a"), "what?"))[-1] for one in talks} == {
        "what?: #888888 after 0 turns"
    }
    assert made == ["a"]


def test_an_answer_that_is_left_alone_blocks_nothing() -> None:
    one = Talk(MEDIA, Cast(Parrot))
    begun = one.answer(("left", "a"), "first")
    next(begun)
    with pytest.raises(ChatError, match="still being written"):
        next(one.answer(("left", "a"), "second"))
    begun.close()
    assert list(one.answer(("left", "a"), "third"))[-1].endswith("after 0 turns")


def test_who_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def offer(name: str, *needs: str) -> talkers.Offer:
        return talkers.Offer(name, "does it", lambda: Parrot(name), needs)

    table = (offer("a"), offer("b", "not-trained"), offer("c"))
    monkeypatch.setattr(talk, "OFFERS", table)
    assert talk.first_two() == ("a", "c")
    labels = dict((name, label) for label, name in talk.choices())
    assert labels == {"a": "a · does it", "b": "b · not trained here yet", "c": "c · does it"}
    monkeypatch.setattr(talk, "OFFERS", table[:2])
    assert talk.first_two() == ("a", "")
    monkeypatch.setattr(talk, "OFFERS", table[1:2])
    with pytest.raises(ChatError, match="vlcourse checkpoints not-trained"):
        talk.first_two()
