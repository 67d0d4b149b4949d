"""Films in a notebook."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from vlcourse.data.world.film import frames
from vlcourse.data.world.timeline import Timeline
from vlcourse.teach import moving

FILM = Timeline.sample(0, seconds=(2, 3))


def test_a_film_is_inside_the_page(tmp_path: Path) -> None:
    page = moving.video(FILM, fps=4, size=32).data
    data = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])  # type: ignore[index]
    assert data[4:8] == b"ftyp" and "<video controls" in page and FILM.captions()[0] in page
    (tmp_path / "mine.mp4").write_bytes(data)
    assert moving.video(tmp_path / "mine.mp4").data.count("mine.mp4") == 1


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "long.mp4").open("wb") as file:
        file.truncate(moving.LARGEST + 1)
    with pytest.raises(ValueError, match="too large for a notebook"):
        moving.video(tmp_path / "long.mp4")


def test_frames_stand_under_their_times() -> None:
    figure = moving.strip(frames(FILM, [0, 1, 2]), [0, 1, 2], columns=3)
    assert [axis.get_title() for axis in figure.axes] == ["0.0 s", "1.0 s", "2.0 s"]
    with pytest.raises(ValueError, match="3 frames but 2 times"):
        moving.strip(frames(FILM, [0, 1, 2]), [0, 1])
