"""Several at once: each visitor has their own, and no answer takes the place of a later one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import chat_fakes
import gradio as gr
import pytest
from chat_fakes import Parrot, Visitor, plain
from chat_house import House, refusal

from vlcourse.chat import talk as talks
from vlcourse.chat.examples import EXAMPLES
from vlcourse.chat.page import Side
from vlcourse.chat.visits import Visits

pytestmark = pytest.mark.slow
SHADES = ("#ff0000", "#00ff00", "#0000ff", "#ffff00")


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
