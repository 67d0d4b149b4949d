"""Videos: which frames are taken, and when they were shown."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from video_files import numbers, write_video

from vlcourse.data.sources import SourceError
from vlcourse.data.sources.video import Sampling, read_video
from vlcourse.data.sources.video_file import VideoFile
from vlcourse.layers.ranges import RangeError


def test_so_many_a_second(tmp_path: Path) -> None:
    film = read_video(write_video(tmp_path / "a.mp4", 35), Sampling(fps=2))
    assert film.times == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3])
    assert numbers(film.frames) == [0, 5, 10, 15, 20, 25, 30]
    assert film.duration == pytest.approx(3.5) and film.notes == () and film.name == "a.mp4"


def test_a_number_of_frames_stands_in_the_middles_of_equal_spans(tmp_path: Path) -> None:
    film = read_video(write_video(tmp_path / "a.mp4", 40), Sampling(frames=4))
    assert film.times == pytest.approx([0.5, 1.5, 2.5, 3.5]) and numbers(film.frames) == [
        5,
        15,
        25,
        35,
    ]


def test_a_stretch_of_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 60)
    film = read_video(path, Sampling(fps=2, start=2.0, end=3.5))
    assert film.times == pytest.approx([2, 2.5, 3]) and numbers(film.frames) == [20, 25, 30]
    assert read_video(path, Sampling(frames=2, start=4.0)).times == pytest.approx([4.5, 5.5])


def test_times_are_those_of_the_presentation_where_the_rate_varies(tmp_path: Path) -> None:
    times = [0, 0.1, 0.2, 1.7, 1.8, 2.05, 3.9]
    film = read_video(write_video(tmp_path / "a.mp4", times, codec="libx264"), Sampling(fps=1))
    # On the screen at 0, 1, 2 and 3 s; the one of 2.05 s stands through 3 s.
    assert numbers(film.frames) == [0, 2, 4, 5] and film.times == pytest.approx([0, 0.2, 1.8, 2.05])


@pytest.mark.parametrize("frames", [3, 5, 8])
def test_a_short_video_gives_each_of_its_frames_once(tmp_path: Path, frames: int) -> None:
    film = read_video(write_video(tmp_path / "a.mp4", 5), Sampling(frames=frames))
    assert len(film.times) == min(frames, 5) and len(set(numbers(film.frames))) == min(frames, 5)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "ffv1"), ("webm", "libvpx"), ("avi", "mpeg4"), ("ts", "libx264"), ("gif", "gif")],
)
def test_other_containers(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_video(tmp_path / f"a.{suffix}", 30, codec=codec)
    film = read_video(path, Sampling(fps=1))
    assert suffix == "gif" or numbers(film.frames) == [0, 10, 20]  # a GIF has other colours
    assert len(film.frames.unique(dim=0)) == 3 and film.times == pytest.approx([0, 1, 2], abs=0.02)


def test_beginning_elsewhere_than_at_zero_changes_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [5 + k / 10 for k in range(20)])
    film = read_video(path, Sampling(fps=1))
    assert film.times == pytest.approx([0, 1], abs=2e-3) and numbers(film.frames) == [0, 10]


def test_few_frames_of_a_long_video_are_sought_and_not_all_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, decoded = write_video(tmp_path / "a.mp4", 240, codec="libx264"), []
    every = VideoFile._frames
    monkeypatch.setattr(
        VideoFile, "_frames", lambda self: (decoded.append(f) or f for f in every(self))
    )
    film = read_video(path, Sampling(frames=4))
    assert numbers(film.frames) == [30, 90, 150, 210] and film.times == pytest.approx(
        [3, 9, 15, 21]
    )
    assert len(decoded) < 4 * 12


def test_one_key_frame_alone_is_not_sought_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, decoded = write_video(tmp_path / "a.mp4", 200, codec="libx264", gop=400), []
    every = VideoFile._frames
    monkeypatch.setattr(
        VideoFile, "_frames", lambda self: (decoded.append(f) or f for f in every(self))
    )
    assert numbers(read_video(path, Sampling(fps=1)).frames) == list(range(0, 200, 10))
    assert len(decoded) < 300


@pytest.mark.parametrize(
    ("rotation", "flip", "white"),
    [(0, False, "tl"), (90, False, "bl"), (-90, False, "tr"), (180, False, "br"), (0, True, "tr")],
)
def test_turned_and_mirrored_as_stored_beside_the_picture(
    tmp_path: Path, rotation: int, flip: bool, white: str
) -> None:
    path = write_video(tmp_path / "a.mp4", 3, rotation=rotation, flip=flip, corner=True)
    frame = read_video(path).frames[0].float().mean(dim=0)
    assert frame.shape == ((64, 48) if abs(rotation) == 90 else (48, 64))
    corners = {
        "tl": frame[:8, :8], "tr": frame[:8, -8:], "bl": frame[-8:, :8], "br": frame[-8:, -8:]
    }  # fmt: skip
    assert max(corners, key=lambda name: corners[name].mean()) == white


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 3, ratio=Fraction(3, 2))
    assert read_video(path).frames.shape[-2:] == (48, 96)


def test_frames_are_made_smaller_and_never_larger(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3, size=(240, 320))
    assert read_video(path, Sampling(side=160)).frames.shape[-2:] == (120, 160)
    assert read_video(path, Sampling(side=2000)).frames.shape[-2:] == (240, 320)


def test_a_long_video_is_looked_at_less_often_and_that_is_said(tmp_path: Path) -> None:
    film = read_video(write_video(tmp_path / "a.mp4", 100), Sampling(fps=2, most=5))
    assert film.times == pytest.approx([0, 2, 4, 6, 8]) and "5 frames stand for 20" in film.notes[0]


def test_sound_changes_nothing_and_is_known(tmp_path: Path) -> None:
    silent, heard = (
        write_video(tmp_path / "a.mp4", 10),
        write_video(tmp_path / "b.mp4", 10, sound=2),
    )
    assert torch.equal(read_video(silent).frames, read_video(heard).frames)
    assert read_video(heard).duration == pytest.approx(1.0)
    with VideoFile(silent) as one, VideoFile(heard) as other:
        assert (one.has_sound, other.has_sound) == (False, True)


def test_numbers_out_of_range_and_no_time_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RangeError, match="fps"):
        Sampling(fps=0)
    with pytest.raises(SourceError, match="no time between"):
        Sampling(start=2, end=2)
    with pytest.raises(SourceError, match="is 1.0 seconds long"):
        read_video(write_video(tmp_path / "a.mp4", 10), Sampling(start=5))


@pytest.mark.parametrize("name", ["hitting_baseball", "jesse_dance", "yoga"])
def test_real_videos(shared_data: Path, name: str) -> None:
    path = shared_data / "video" / f"{name}.mp4"
    if not path.is_file():
        pytest.skip(f"no real video at {path}")
    film = read_video(path)
    assert film.times == pytest.approx(list(range(10)), abs=0.05) and not film.notes
    assert film.frames.float().std() > 20  # a picture, and not a grey field
    eight = read_video(path, Sampling(frames=8))
    assert len(eight.times) == 8 and eight.times[-1] == pytest.approx(9.4, abs=0.3)


def test_decoded_frames_are_let_go_of_at_once(tmp_path: Path) -> None:
    path, most = write_video(tmp_path / "a.mp4", 60), 0
    gc.collect()
    gc.disable()
    try:
        assert len(read_video(path, Sampling(fps=10)).times) == 60
        most = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert most <= 4, most
