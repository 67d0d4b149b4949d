"""The sound of a video: one channel of 16,000 numbers a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_files import write_video

from vlcourse.data.sources import SourceError
from vlcourse.data.sources.audio import RATE, read_sound


def test_a_tone_comes_back_with_its_height_and_length(tmp_path: Path) -> None:
    sound = np.concatenate([*read_sound(write_video(tmp_path / "a.mp4", 10, sound=2.0))])
    assert sound.dtype == np.int16 and len(sound) == pytest.approx(2 * RATE, abs=2100)
    middle = sound[RATE // 2 : RATE // 2 + RATE].astype(float)
    assert np.abs(np.fft.rfft(middle)).argmax() == pytest.approx(440, abs=1)  # hertz


def test_no_sound_is_nothing_and_a_limit_is_kept(tmp_path: Path) -> None:
    assert list(read_sound(write_video(tmp_path / "a.mp4", 10))) == []
    pieces = read_sound(write_video(tmp_path / "b.mp4", 10, sound=2.0), most=0.5)
    assert sum(map(len, pieces)) == RATE // 2


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no file here"):
        list(read_sound(tmp_path / "none.mp4"))
