"""Films as pictures, files and words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vlcourse.data.world.facts import Thing
from vlcourse.data.world.film import frame_times, frames, uniform_times, write_mp4
from vlcourse.data.world.script import Event, Line, Script
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_captions import srt, told
from vlcourse.data.world.videos import Videos
from vlcourse.files import WriteError

SCRIPT = Script(
    8,
    (
        Thing("red", "square", "large"),
        Thing("blue", "ring", "small"),
        Thing("white", "star", "small"),
        Thing("green", "circle", "small"),
    ),
    (
        Event("hit", 2, 1, whom=0),
        Event("hit", 4, 2, whom=0),
        Event("colour", 4, 0, "pink", cause=1),
        Event("come", 6, 3),
    ),
    (Line(1, 2.5, "the star is called leo.", 2, "leo"),),
    seed=3,
)
FILM = Timeline.of(SCRIPT)


def test_a_frame_is_the_picture_of_the_scene_at_its_time() -> None:
    times = [0.0, 1.5, 3.99, 4, 8]
    drawn = frames(FILM, times, 48)
    assert drawn.shape == (5, 3, 48, 48) and drawn.dtype == torch.uint8
    for picture, time in zip(drawn, times, strict=True):
        assert torch.equal(picture, FILM.at(time).render(48))
    assert not torch.equal(drawn[2], drawn[3])


def test_times_of_frames() -> None:
    assert uniform_times(10, 2) == [2.5, 7.5]
    assert frame_times(2, 2) == [0, 0.5, 1, 1.5]
    assert len(frame_times(3, 29.97)) == 90
    with pytest.raises(ValueError, match="fps, the frames in a second"):
        frame_times(2, 0)
    with pytest.raises(ValueError, match="number of frames, must be at least 1"):
        uniform_times(2, 0)
    with pytest.raises(ValueError, match="at least one time"):
        frames(FILM, [])


@pytest.mark.parametrize("fps", [5, 29.97])
def test_a_file_holds_the_film(tmp_path: Path, fps: float) -> None:
    path = write_mp4(FILM, tmp_path / "new" / "film.mp4", fps, 64, subtitles=True)
    with av.open(str(path)) as file:
        decoded = [(float(f.time), f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]
    assert len(decoded) == round(8 * fps)
    for index in (0, len(decoded) // 2, len(decoded) - 1):
        time, picture = decoded[index]
        assert time == pytest.approx(index / fps, abs=2e-3)
        true = frames(FILM, [index / fps], 64)[0].permute(1, 2, 0).numpy().astype(int)
        assert np.abs(picture.astype(int) - true).mean() < 4
    assert path.with_suffix(".srt").read_text("utf-8") == FILM.srt()
    assert sorted(p.name for p in path.parent.iterdir()) == ["film.mp4", "film.srt"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").mkdir()
    with pytest.raises(WriteError, match=re.escape("film.mp4 cannot be written")):
        write_mp4(FILM, tmp_path / "film.mp4", 2, 32)
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]
    with pytest.raises(ValueError, match="even number of pixels; got size=33"):
        write_mp4(FILM, tmp_path / "other.mp4", 2, 33)


def test_a_film_in_words() -> None:
    assert told(SCRIPT) == (
        "there is a small blue ring, a large red square and a small white star. "
        "at 1 s a voice said: the star is called leo. "
        "at 2 s the blue ring hit the square. at 4 s the white star hit the square. "
        "at 4 s the square turned pink. at 6 s a small green circle came in."
    )
    assert "said" not in told(SCRIPT, heard=False)
    assert FILM.captions()[0] == (
        "the blue ring hit the square, then the white star hit the square, then the square turned "
        "pink, then a small green circle came in"
    )
    assert "a small green circle came in" in FILM.captions()
    assert FILM.tags() == [
        "blue", "circle", "come", "green", "hit", "pink", "red", "ring", "square", "star", "turn",
        "white",
    ]  # fmt: skip


def test_dense_captions_have_the_times_of_the_events() -> None:
    segments = FILM.dense()
    assert [(s.start, s.end) for s in segments] == [(0, 1), (1, 2), (3, 4), (4, 5), (6, 7)]
    assert segments[3].text == "the square turned pink."
    assert Timeline.of(replace(SCRIPT, events=())).dense()[0].end == 8


def test_boxes_hold_the_objects() -> None:
    named = dict(FILM.boxes(8))
    assert set(named) == {
        "large pink square", "small blue ring", "small white star", "small green circle"
    }  # fmt: skip
    left, top, right, bottom = named["small green circle"]
    size = 200
    picture = FILM.at(8).render(size).float()
    green = (picture[1] > 130) & (picture[0] < 60)
    rows, columns = torch.nonzero(green, as_tuple=True)
    inside = (left <= columns.min() / size, columns.max() / size <= right)
    assert all(inside) and top <= rows.min() / size and rows.max() / size <= bottom


def test_subtitles_are_srt() -> None:
    lines = (*SCRIPT.lines, Line(3661.5, 3662, "the ring is called zoe.", 1, "zoe"))
    assert srt(lines) == (
        "1\n00:00:01,000 --> 00:00:02,500\nthe star is called leo.\n\n"
        "2\n01:01:01,500 --> 01:01:02,000\nthe ring is called zoe.\n"
    )
    assert srt(()) == ""


def test_videos_are_the_same_in_any_order() -> None:
    films = Videos("test", n=10, n_frames=4, seconds=(4, 6))
    sample, again = films[3], films.__getitems__([1, 3])[1]
    assert torch.equal(sample["frames"], again["frames"])
    assert sample["id"] == "videos/test/3" and sample["timeline"] == films.timeline(3)
    assert sample["frames"].shape == (4, 3, 32, 32)
    assert sample["times"] == tuple(uniform_times(sample["timeline"].duration, 4))
    assert sample["caption"] == sample["timeline"].captions()[0]
    assert films[-1]["id"] == "videos/test/9"
    assert films.timeline(0) != Videos("test", n=10, seed=1).timeline(0)
    with pytest.raises(IndexError, match="there is no sample 10"):
        films[10]
    with pytest.raises(ValueError, match="number of films"):
        Videos(n=0)


def test_a_film_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlcourse.data.world.videos.KEPT", 2)
    films, others = Videos("test", n=4), Videos("test", n=4)  # each has asked for its film 0
    assert films.timeline(1) is films.timeline(1) is films.timeline(-3)
    assert films.timeline(2) == films.timeline(2) is not films.timeline(2)  # no room for it
    assert [films.timeline(i) for i in range(4)] == [others.timeline(i) for i in (0, 1, 2, 3)]
