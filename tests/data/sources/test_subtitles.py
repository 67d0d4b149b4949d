"""SRT files as people and programs write them, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlcourse.data.segments import Segment
from vlcourse.data.sources import SourceError
from vlcourse.data.sources.subtitles import parsed, read_subtitles, subtitles_beside
from vlcourse.data.world.timeline import Timeline

TWO = """1
00:00:01,000 --> 00:00:02,500
Hello <i>there</i>.

2
00:01:00,250 --> 01:00:00,000 X1:0 Y1:9
{\\an8}Two
lines
"""


def test_times_and_texts() -> None:
    assert parsed(TWO, "a.srt") == (
        Segment(1.0, 2.5, "Hello there."),
        Segment(60.25, 3600.0, "Two lines"),
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_and_ends_of_lines(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes("1\r\n00:01,5 --> 00:02.25\r\nà bientôt\r\n".encode(encoding))
    assert read_subtitles(path) == (Segment(1.5, 2.25, "à bientôt"),)


def test_blocks_without_words_or_numbers_and_out_of_order() -> None:
    text = "00:00:05,000 --> 00:00:06,000\n42\n\n2\n00:00:01,000 --> 00:00:02,000\n<i></i>\n\n\n"
    assert parsed(text, "a.srt") == (Segment(5.0, 6.0, "42"),)
    late_first = "00:00:05,0 --> 00:00:06,0\nb\n\n00:00:01,0 --> 00:00:02,0\na\n"
    assert [s.text for s in parsed(late_first, "a.srt")] == ["a", "b"]
    assert parsed("", "a.srt") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\nnonsense\n", "line 1"),
        ("1\n00:00:01,000 -> 00:00:02,000\nx\n", "line 1"),
        ("1\n00:00:03,000 --> 00:00:02,000\nx\n", "line 2: it ends before it begins"),
        ('{"video": []}', "is it an SRT file"),
    ],
)
def test_what_is_no_srt_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(SourceError) as refused:
        parsed(text, "a.srt")
    assert said in str(refused.value) and "a.srt" in str(refused.value)


def test_no_file_and_none_beside(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_subtitles(tmp_path / "none.srt")
    assert subtitles_beside(tmp_path / "a.mp4") == ()
    (tmp_path / "a.srt").write_text(TWO)
    assert len(subtitles_beside(tmp_path / "a.mp4")) == 2


def test_a_toy_films_subtitles_come_back() -> None:
    film = next(t for t in map(Timeline.sample, range(20)) if len(t.lines) == 2)
    assert tuple(parsed(film.srt(), "film.srt")) == film.subtitles()
