"""A visitor's own file: shown if it is a picture or a film, and kept no longer than needed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from chat_fakes import Visitor, plain
from chat_house import House, refusal

from vlcourse.data.world.film import write_mp4
from vlcourse.data.world.timeline import Timeline

pytestmark = pytest.mark.slow


def test_a_picture_and_a_film_of_ones_own(visitor: Visitor, tmp_path: Path) -> None:
    shown, said = visitor.upload(plain(tmp_path / "it's <b>.png", "#ff0000"))
    assert (visitor.ask("red?"), said) == ("red?: #ff0000 after 0 turns", "")
    assert "<b>.png" not in shown and "80 × 60" in shown
    film = write_mp4(Timeline.sample(3, "test"), tmp_path / "mine.mp4", fps=6, size=64)
    shown, said = visitor.upload(film)
    assert "mine.mp4" in shown and "data:video/mp4" in shown and not said
    assert shown.count("<figcaption>") > 5


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.mp4", b"", "empty.mp4 is empty"),
        ("notes.txt", b"these are words", "notes.txt"),
        ("movie.mp4", b"\0\0\0\x20ftypisom" + bytes(200), "movie.mp4"),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "broken.png"),
        ("page.html", b"<script>alert(1)</script>", "page.html"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence_and_what_was_there_stays(
    name: str, content: bytes, said: str, house: House, visitor: Visitor, tmp_path: Path
) -> None:
    visitor.choose("picture: two circles and a square")
    before = visitor.ask("what?").split()[1]
    (tmp_path / name).write_bytes(content)
    _, answer = visitor.upload(tmp_path / name)
    assert said in refusal(answer) and str(house.folder) not in answer
    assert visitor.ask("and now?").split()[2] == before
    assert name not in house.kept()


def test_a_film_in_a_codec_that_nobody_knows(visitor: Visitor, tmp_path: Path) -> None:
    film = write_mp4(Timeline.sample(3, "test"), tmp_path / "odd.mp4", fps=2, size=64)
    film.write_bytes(film.read_bytes().replace(b"avc1", b"zzzz"))
    assert "odd.mp4" in refusal(visitor.upload(film)[1])


def test_a_file_goes_when_another_is_chosen_and_when_the_visitor_goes(
    house: House, tmp_path: Path
) -> None:
    def waited(names: list[str]) -> bool:
        return any(house.kept() == names or threading.Event().wait(0.2) for _ in range(100))

    assert waited([])
    visitor = Visitor(house.address)
    visitor.upload(plain(tmp_path / "first.png", "#ff0000"))
    assert house.kept() == ["first.png"]
    visitor.upload(plain(tmp_path / "second.png", "#00ff00"))
    assert house.kept() == ["second.png"]
    visitor.choose("picture: two circles and a square")
    assert house.kept() == []
    visitor.upload(plain(tmp_path / "third.png", "#0000ff"))
    assert house.kept() == ["third.png"]
    visitor.client.close()
    assert waited([])
