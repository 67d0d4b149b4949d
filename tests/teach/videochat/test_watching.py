"""Both systems are asked about the same films, and their wrong answers are found and shown."""

from __future__ import annotations

from vlcourse.data.world.script import Script
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_questions import VideoQuestion
from vlcourse.teach.videochat import watching

SCRIPT = Script.sample(7, "test")


def _asked(kind: str, answer: str) -> tuple[Script, VideoQuestion]:
    return SCRIPT, VideoQuestion(f"{kind}?", answer, kind)


ASKED = [_asked("order", "ring"), _asked("order", "star"), _asked("localisation", "3 s")]


def test_of_each_kind_and_system_the_first_wrong_answer_is_found() -> None:
    answers = {"a": ["star", "ring", "4 s"], "b": ["ring", "ring", "5 s"]}
    assert watching.wrong(ASKED, answers) == [0, 1, 2]
    assert watching.wrong(ASKED, {"a": ["ring", "star", "2 s"]}) == []


def test_the_table_marks_what_is_right() -> None:
    shown = watching.table(ASKED, {"a": ["star", "star", "4 s"]}, [0, 2]).data.splitlines()
    assert shown[0] == "| kind | question | right is | a |"
    assert shown[2:] == [
        "| order | order? | ring | ✗ star |",
        "| localisation | localisation? | 3 s | ✓ 4 s |",
    ]


def test_a_film_is_held_once_a_second_with_what_is_said() -> None:
    film = Timeline.sample(7, "test")
    media = watching.media(film)
    assert media.times == tuple(range(film.duration)) and media.duration == film.duration
    assert [segment.text for segment in media.subtitles] == [line.text for line in film.lines]


def test_a_reader_has_the_tools_it_was_given_and_shares_the_models() -> None:
    found = watching.readers(few=("caption",), all=watching.EVERY)
    assert [tool.kind for tool in found["few"].tools] == ["caption"]
    assert len(found["all"].tools) > 4 and found["few"].llm is found["all"].llm
    (answer,) = watching.read(
        found["all"], [(SCRIPT, VideoQuestion("what colour is the ring?", "white", "image"))]
    )
    assert answer == "white"
