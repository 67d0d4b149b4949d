"""A video as text: the template, the toy world's words, and what fits a budget."""

from __future__ import annotations

import pytest

from vlcourse.chat import ChatError
from vlcourse.chat.history import newest, thinned
from vlcourse.chat.perception import Kind, Perceived, Subtitles, perceive
from vlcourse.chat.protocol import Turn
from vlcourse.chat.textualise import clips, in_toy_words, textualised
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment

SEEN = Perceived(
    6.0,
    (
        ("action", (Segment(0, 6, "moving"),)),
        (
            "caption",
            tuple(
                Segment(t, t + 1, text) for t, text in enumerate(["a ring"] * 2 + ["a star"] * 4)
            ),
        ),
        ("tags", tuple(Segment(t, t + 1, "red ring") for t in range(5))),
        ("dense", (Segment(0, 5, "red ring", (1, 2, 30, 40)), Segment(5, 6, "blue star"))),
        ("change", (Segment(3, 4, "the red ring went left"),)),
        ("subtitle", (Segment(1.5, 2, "Hello."),)),
    ),
)


def test_frames_of_which_the_same_is_said_are_one_clip() -> None:
    assert clips(SEEN) == [(0, 2), (2, 5), (5, 6.0)]


def test_the_template_has_each_thing_said_once_in_its_clip() -> None:
    assert textualised(SEEN) == [
        "Video: moving.",
        "00:00-00:02 a ring. tags: red ring. things: red ring: [1, 2, 30, 40]. "
        "subtitle: at 00:01 Hello.",
        "00:02-00:05 a star. tags: red ring. change: at 00:03 the red ring went left.",
        "00:05-00:06 a star. things: blue star.",
    ]


def test_a_picture_has_no_times_and_nothing_seen_is_an_empty_clip() -> None:
    picture = Perceived(0.0, (("caption", (Segment(0, 0, "a ring"),)),))
    assert textualised(picture) == ["a ring."] and in_toy_words(picture) == ["a ring."]
    assert (
        textualised(Perceived(2.0, ())) == ["00:00-00:02"]
        and in_toy_words(Perceived(2.0, ())) == []
    )


def test_the_toy_worlds_words_begin_with_what_is_there_and_go_on_with_what_happens() -> None:
    assert in_toy_words(SEEN) == [
        "there is a red ring.",
        "at 2 s a voice said: Hello.",
        "at 3 s the red ring went left.",
    ]


def test_without_things_the_captions_are_told_where_they_change() -> None:
    only = Perceived(6.0, tuple(pair for pair in SEEN.said if pair[0] == "caption"))
    assert in_toy_words(only) == ["at 0 s a ring.", "at 2 s a star."]


def test_the_newest_turns_fit_and_the_oldest_go_first() -> None:
    turns = [Turn("a", "1"), Turn("b", "2"), Turn("c", "3")]
    assert newest(turns, 25, lambda turn: 10) == turns[1:]
    assert newest(turns, 9, lambda turn: 10) == [] and newest([], 9, lambda turn: 10) == []


def test_lines_are_left_out_evenly_until_they_fit() -> None:
    lines = [str(i) for i in range(8)]
    assert thinned(lines, 8, len) == lines
    assert thinned(lines, 4, len) == ["0", "2", "4", "6"] and thinned(lines, 1, len) == ["0"]
    assert thinned(lines, 0, len) == []


class Says:
    name = "a tool"

    def __init__(self, kind: Kind, *said: Segment) -> None:
        self.kind, self.said = kind, said

    def look(self, media: Media) -> list[Segment]:
        return [*self.said]


def test_tools_stand_in_their_order_and_are_one_of_a_kind(film: Media) -> None:
    heard, tagged = Segment(0, 1, "hi"), Segment(0, 1, "ring")
    seen = perceive(film, [Says("speech", heard), Says("tags", tagged), Says("dense")])
    assert seen.said == (("tags", (tagged,)), ("speech", (heard,)))
    assert perceive(film, [Subtitles()]).of("subtitle") == film.subtitles != ()
    with pytest.raises(ChatError, match="two tools say tags"):
        perceive(film, [Says("tags"), Says("tags")])
