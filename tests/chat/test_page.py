"""The page without a browser: its own client goes through all that a visitor can do."""

from __future__ import annotations

import json
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import chat_fakes
import gradio as gr
import pytest
from chat_fakes import Parrot, Visitor, plain

from vlcourse.chat import talk as talks
from vlcourse.chat.examples import EXAMPLES
from vlcourse.chat.page import Side
from vlcourse.chat.serve import serving
from vlcourse.chat.strip import notice
from vlcourse.chat.visits import Visits
from vlcourse.data.world import Scene
from vlcourse.data.world.film import write_mp4
from vlcourse.data.world.timeline import Timeline

pytestmark = pytest.mark.slow
OURS = "vlcourse-chat-*"
SHADES = ("#ff0000", "#00ff00", "#0000ff", "#ffff00")


class House:
    """A page that is served, the talker behind it, and the folder of its files."""

    def __init__(self, address: str, parrot: Parrot, folder: Path) -> None:
        self.address, self.parrot, self.folder = address, parrot, folder

    def kept(self) -> list[str]:
        """The names of all files below its folder."""
        return sorted(path.name for path in self.folder.glob(f"{OURS}/**/*") if path.is_file())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("temporary")
        patch.setattr("tempfile.tempdir", str(folder))
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
        patch.setenv("GRADIO_IS_E2E_TEST", "1")  # a heart beats four times a second, not in 15
        parrot = Parrot(chat_fakes.TALKER)
        with serving(0, talks.Cast(lambda name: parrot)) as address:
            patch.setenv("NO_PROXY", "127.0.0.1")
            yield House(address, parrot, folder)
        assert not list(folder.glob(OURS))


@pytest.fixture
def visitor(house: House) -> Iterator[Visitor]:
    visitor = Visitor(house.address)
    yield visitor
    visitor.client.close()


def refusal(text: str) -> str:
    """The words of a notice."""
    assert "class='notice refused'" in text, text
    return text.split(">")[1].split("<")[0]


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


def test_four_at_once_see_their_own(house: House, tmp_path: Path) -> None:
    house.parrot.most = 0

    def visit(k: int) -> list[str]:
        visitor = Visitor(house.address)
        (tmp_path / str(k)).mkdir()
        shown, _ = visitor.upload(plain(tmp_path / str(k) / f"{k}.png", SHADES[k]))
        answers = [visitor.ask(f"{k} asks {turn}", side) for turn in "ab" for side in talks_sides]
        return [shown, visitor.look(), *answers]

    talks_sides = ("left", "right")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(visit, range(4)))
    for k, (shown, seen, *answers) in enumerate(found):
        for text in (shown, seen):
            assert [other for other in range(4) if f"{other}.png" in text] == [k]
        assert answers == [
            f"{k} asks {turn}: {SHADES[k]} after {n} turns"
            for n, turn in enumerate("ab")
            for _ in talks_sides
        ]
    assert 1 <= house.parrot.most <= 2  # the others waited for their turn


def test_the_same_file_from_two_at_once_is_there_for_both(house: House, tmp_path: Path) -> None:
    file = plain(tmp_path / "same.png", "#ff0000")
    first, second = Visitor(house.address), Visitor(house.address)
    with ThreadPoolExecutor(2) as pool:
        assert [s for _, s in pool.map(lambda v: v.upload(file), (first, second))] == ["", ""]
    first.choose("picture: two circles and a square")
    assert second.ask("still red?").split()[2] == "#ff0000"
    assert house.kept().count("same.png") == 1


def test_one_question_at_a_time_on_a_side(house: House, visitor: Visitor) -> None:
    visitor.choose("picture: two circles and a square")
    house.parrot.go_on.clear()
    try:
        slow = visitor.client.submit("slow", chat_fakes.TALKER, api_name="/left")
        while not any(chat_fakes.last(talk) == "slow:" for talk, _ in slow.outputs()):
            threading.Event().wait(0.05)
        assert "still being written" in refusal(visitor.steps("quick")[-1][1])
    finally:
        house.parrot.go_on.set()
    slow.result(timeout=30)
    assert visitor.ask("now").endswith("after 1 turns")


def fetched(address: str, **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_it_answers_to_this_machine_and_lets_the_browser_fetch_nothing_else(house: House) -> None:
    status, headers = fetched(house.address)
    assert status == 200 and "default-src 'self'" in headers["content-security-policy"]
    assert fetched(house.address, Host="evil.example:7860")[0] == 403
    port = int(house.address.rstrip("/").rpartition(":")[2])
    outside = socket.gethostbyname(socket.gethostname())
    with socket.socket() as other:
        assert outside.startswith("127.") or other.connect_ex((outside, port))


def test_no_address_is_fetched_and_no_file_of_this_machine_is_read(
    house: House, tmp_path: Path
) -> None:
    secret = plain(tmp_path / "secret.png", "#ff0000")
    for path in ("http://127.0.0.1:9/a.png", str(secret), "/etc/hostname", ""):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call = f"{house.address}gradio_api/call/upload"
        sent = urllib.request.Request(
            call, json.dumps({"data": [file]}).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(sent) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{call}/{event}") as answer:
            assert b"event: error" in answer.read()
    assert secret.is_file()


def test_the_environment_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = dict(os.environ)
    with serving(0, talks.Cast(Parrot)):
        assert len(list(tmp_path.glob(OURS))) == 1
    assert dict(os.environ) == before and not list(tmp_path.glob("*vlcourse*"))


def test_what_was_answered_while_a_talker_looked_stays(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    talk = talks.Talk(EXAMPLES["picture: two circles and a square"].shown()[0], talks.Cast(Parrot))
    visits.of("me").begin(talk)
    request: Any = SimpleNamespace(session_hash="me")
    looks = Side("left", visits).look(chat_fakes.TALKER, request)
    assert next(looks)[1] == []
    assert list(talk.answer(("left", chat_fakes.TALKER), "what?"))
    seen, chat = next(looks)
    assert "class='account'" in seen and chat == gr.skip()


def test_who_is_no_longer_asked_says_no_more(tmp_path: Path) -> None:
    visits, me = Visits(tmp_path), cast(Any, SimpleNamespace(session_hash="me"))
    talk = talks.Talk(EXAMPLES["picture: two circles and a square"].shown()[0], talks.Cast(Parrot))
    visits.of("me").begin(talk)
    side = Side("left", visits)
    first = side.answer("what?", "one", me)
    assert [next(first)[0][-1]["content"] for _ in range(2)] == ["…", "what?:"]
    slow = side.look("one", me)
    assert "looking" in next(slow)[0]
    assert next(side.look("two", me))[1] == []
    assert not list(slow)  # what the first one sees does not take the second one's place
    assert not list(first) and not talk.turns[("left", "one")]
    assert list(side.answer("again?", "one", me))[-1][0][-1]["content"].endswith("after 0 turns")


def test_a_notice_is_never_html() -> None:
    assert "<script" not in notice("<script>") and notice("") == ""
