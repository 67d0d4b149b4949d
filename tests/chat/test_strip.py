"""The row of frames: what is shown of many, where, and with how much attention."""

from __future__ import annotations

import base64
import io
import re

import pytest
import torch
from PIL import Image

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


def test_a_frame_stands_where_it_was_shown_and_is_as_wide_as_it_lasts() -> None:
    attention = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 1.0]])
    text = strip.account(film(10), Account("words", (1.0, 2.0, 6.0), attention, 0.9))
    assert re.findall(r"minmax\(34px, ([\d.]+)fr\)", text) == ["10.00", "40.00", "40.00"]
    assert text.count("padding-left: 10.00%") == 2  # of the frames, and of the tokens below
    assert "90.0% of it goes to frames" in text
    kept = re.search(r"data:image/png;base64,([^']+)", text)
    assert kept
    with Image.open(io.BytesIO(base64.b64decode(kept[1]))) as image:
        assert image.size == (360, 2)  # a line for each token, four columns for each hundredth
        dark = [[image.getpixel((x, y)) == strip.HIGH for x in (20, 100, 300)] for y in (0, 1)]
    assert dark == [[False, True, False], [False, False, True]]


def test_of_very_many_frames_some_are_shown() -> None:
    attention = torch.full((2, 100), 0.01)
    text = strip.account(film(100), Account("words", tuple(map(float, range(100))), attention))
    assert text.count("<figure>") == strip.SEEN == text.count("minmax(")
    assert "attention of 2 tokens over 100 frames" in text and "goes to frames" not in text


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
