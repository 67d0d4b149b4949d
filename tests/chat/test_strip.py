"""The row of frames: what is shown of many, where, and with how much attention."""

from __future__ import annotations

import re

import pytest
import torch

from vlcourse.chat import strip
from vlcourse.chat.protocol import Account
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment


def film(count: int, width: int = 16, **more: object) -> Media:
    frames = torch.zeros(count, 3, 16, width, dtype=torch.uint8)
    return Media("film", frames, tuple(map(float, range(count))), float(count), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "width", "shown"), [(9, 16, 9), (100, 16, 14), (100, 32, 6)])
def test_as_many_frames_as_fit_the_first_and_the_last_among_them(
    count: int, width: int, shown: int
) -> None:
    text = strip.timeline(film(count, width))
    seconds = re.findall(r"<figcaption>([\d.]+) s", text)
    assert len(seconds) == shown and (seconds[0], seconds[-1]) == ("0.0", f"{count - 1}.0")
    assert f"{count} frames sampled" in text and ("of them shown" in text) == (shown < count)


def test_a_mark_stands_where_its_frame_was_taken() -> None:
    assert (
        re.findall(r"left:([\d.]+)%", strip.timeline(film(4))) == "0.00 25.00 50.00 75.00".split()
    )


def test_notes_subtitles_and_names_are_text() -> None:
    media = film(2, notes=("a <note>",), subtitles=(Segment(61, 62, "<b>hi</b>"),))
    text = strip.timeline(media)
    assert "a &lt;note&gt;" in text and "01:01 “&lt;b&gt;hi&lt;/b&gt;”" in text


def test_bars_are_the_mean_over_tokens_and_the_highest_fills_its_place() -> None:
    attention = torch.tensor([[0.5, 0.25, 0.25], [0.3, 0.1, 0.6]])
    text = strip.account(film(3), Account("words", (0.0, 1.0, 2.0), attention))
    assert re.findall(r"height:(\d+)%", text) == ["94", "41", "100"]
    assert "40% of the attention" in text and "attention of 2 tokens over 3 frames" in text


@pytest.mark.parametrize("attention", [None, torch.ones(2, 5) / 5])
def test_no_attention_or_one_that_does_not_fit_is_not_shown(attention: torch.Tensor | None) -> None:
    text = strip.account(film(3), Account("words", (0.0, 1.0, 2.0), attention))
    assert "attention" not in text and text.count("<figure>") == 3 and "words" in text


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"\0\0\0\x20ftypisom", "mp4"), (b"\x1aE\xdf\xa3", "webm"), (b"RIFF", ""), (b"", "")],
)
def test_only_what_browsers_play_is_sent_along(start: bytes, kind: str) -> None:
    text = strip.timeline(film(2), start + bytes(100) * bool(start))
    assert (f"data:video/{kind}" in text) if kind else ("<video" not in text)
    assert "<video" not in strip.timeline(film(2), start + bytes(strip.PLAYED))
