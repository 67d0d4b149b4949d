"""Files that are no video, or no whole one: a clear error, or the readable part, said to be one."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from video_files import numbers, write_video

from vlcourse.data.media import Media
from vlcourse.data.sources import SourceError
from vlcourse.data.sources.video import Sampling, read_video

FIRST = {"movflags": "faststart"}  # the index stands before the pictures


def cut(path: Path, share: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_of_a_file_that_is_cut_off_the_first_part_is_read(tmp_path: Path, suffix: str) -> None:
    options = FIRST if suffix == "mp4" else {}
    path = write_video(tmp_path / f"a.{suffix}", 100, size=(96, 128), options=options)
    film = read_video(cut(path, 0.6), Sampling(fps=1))
    assert 3 <= len(film.times) <= 8
    assert numbers(film.frames)[:-1] == [10 * k for k in range(len(film.times) - 1)]
    assert "of 10.0 seconds" in film.notes[0] and film.duration < 9


def test_a_number_of_frames_is_spread_over_the_part_that_can_be_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 100, size=(96, 128), options=FIRST)
    film = read_video(cut(path, 0.6), Sampling(frames=4))
    assert len(film.times) == 4 and film.times[-1] < film.duration < 9


def test_without_its_index_nothing_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a.mp4 cannot be opened as a video: it is broken"):
        read_video(cut(write_video(tmp_path / "a.mp4", 30, size=(240, 320)), 0.5))


def test_damage_in_the_middle_is_passed_over_and_said(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 60, codec="ffv1", size=(96, 128), gop=1)
    raw = bytearray(path.read_bytes())
    for at in range(len(raw) // 3, len(raw) // 2, 7):
        raw[at] ^= 0x5A
    path.write_bytes(raw)
    film = read_video(path, Sampling(fps=5))
    assert {*numbers(film.frames)} >= {0, 10, 50, 58}
    assert any("damaged" in note for note in film.notes), film.notes


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_whatever_the_damage_it_is_a_video_or_one_sentence(tmp_path: Path, share: float) -> None:
    original = write_video(tmp_path / "a.mp4", 20, options=FIRST).read_bytes()
    dice = random.Random(0)
    read = 0
    for trial in range(40):
        raw = bytearray(original)
        for _ in range(1 + trial):
            raw[dice.randrange(int(len(raw) * share))] = dice.randrange(256)
        (tmp_path / "b.mp4").write_bytes(raw)
        try:
            film = read_video(tmp_path / "b.mp4", Sampling(fps=4, most=30))
        except SourceError as error:
            assert "b.mp4" in str(error) and "\n" not in str(error)
        else:
            assert isinstance(film, Media) and len(film.times) <= 30
            read += 1
    assert 0 < read < 40


def silent(path: Path) -> Path:
    """A sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no video: there is only sound in it"):
        read_video(silent(tmp_path / "a.wav"))


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        tone = container.add_stream("aac", rate=16_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        container.mux(cover.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 16_000
        container.mux(tone.encode(sound))
        container.mux(tone.encode(None))
    with pytest.raises(SourceError, match="has no video"):
        read_video(path)


def test_a_codec_that_is_not_known(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 10, codec="libx264")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(SourceError, match="codec that is not known"):
        read_video(path)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile secret.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/secret.ts\n",
    ],
)
def test_a_list_of_other_files_is_not_followed(tmp_path: Path, text: str) -> None:
    write_video(tmp_path / "secret.mp4", 10)
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(SourceError, match="a.mp4 cannot be opened"):
        read_video(tmp_path / "a.mp4")


def test_what_is_no_video_at_all(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    (tmp_path / "empty.mp4").touch()
    Image.new("RGB", (32, 32)).save(tmp_path / "picture.mp4", format="PNG")
    for name, said in (
        ("text.mp4", "cannot be opened as a video"),
        ("picture.mp4", "cannot be opened as a video"),
        ("empty.mp4", "is empty"),
        ("none.mp4", "is no file here"),
        (".", "is a folder"),
        ("a\0b.mp4", "is no file here"),
    ):
        with pytest.raises(SourceError, match=said):
            read_video(tmp_path / name)


def test_a_name_that_looks_like_an_address_or_a_pattern_is_a_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_video(tmp_path / "a.mp4", 10)
    for name in ("concat:a.mp4", "x%03d.mp4"):
        with pytest.raises(SourceError, match="is no file here"):
            read_video(name)
        path.rename(name)
        assert read_video(name).times == (0.0,)
        Path(name).rename(path)


def test_frames_of_another_size_on_the_way_are_brought_to_the_first(tmp_path: Path) -> None:
    one = write_video(tmp_path / "a.ts", 10, codec="libx264")
    two = write_video(
        tmp_path / "b.ts", [1 + k / 10 for k in range(10)], codec="libx264", size=(96, 96)
    )
    (tmp_path / "c.ts").write_bytes(one.read_bytes() + two.read_bytes())
    film = read_video(tmp_path / "c.ts", Sampling(fps=2))
    assert film.frames.shape[-2:] == (48, 64) and len(film.times) >= 3
    assert isinstance(film.frames, torch.Tensor)
