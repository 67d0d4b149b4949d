"""What a file is, is seen in it: a picture, a video, or neither, and then a sentence says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_fakes import plain
from PIL import Image
from video_files import write_video

from vlcourse.chat import ChatError, opening
from vlcourse.chat.opening import SIDE, open_media


def test_a_picture_is_one_upright_frame_that_is_not_too_large(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn is to be made
    Image.new("RGB", (900, 300), "red").save(tmp_path / "tall.jpg", exif=turned)
    media = open_media(tmp_path / "tall.jpg", "mine")
    assert media.still and media.name == "mine" and media.path == tmp_path / "tall.jpg"
    assert tuple(media.frames.shape) == (1, 3, SIDE, round(SIDE / 3))
    assert open_media(plain(tmp_path / "small.png", "blue")).frames.shape[2:] == (60, 80)


def test_a_name_says_nothing(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", "red").rename(tmp_path / "a.mp4")
    assert open_media(tmp_path / "a.mp4").still
    write_video(tmp_path / "b.mp4", 10).rename(tmp_path / "b.png")
    film = open_media(tmp_path / "b.png")
    assert film.times == (0.0, 0.5) and film.duration == pytest.approx(1.0, abs=0.05)
    frames = [Image.new("RGB", (40, 40), shade) for shade in ("red", "blue")]
    frames[0].save(tmp_path / "c.gif", save_all=True, append_images=frames[1:], duration=500)
    assert open_media(tmp_path / "c.gif").times == (0.0, 0.5)
    frames[0].save(tmp_path / "d.gif")
    assert open_media(tmp_path / "d.gif").still


def test_what_is_neither_is_called_by_its_name_only(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "words").write_text("words")
    for name, said in (("none", "no such file"), ("empty", "is empty"), ("words", "my file")):
        with pytest.raises(ChatError, match=said) as refused:
            open_media(tmp_path / name, "my file")
        assert str(tmp_path) not in str(refused.value)


def test_a_picture_with_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PIXELS", 4_000)
    with pytest.raises(ChatError, match=r"vast.png has too many pixels: at most 4,000"):
        open_media(plain(tmp_path / "vast.png", "red"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000)
    with pytest.raises(ChatError, match=r"too many pixels"):
        open_media(tmp_path / "vast.png")
