"""Films of the toy world as pictures: frames at any times, and files of video."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from vlcourse.data.world.scene import render_batch
from vlcourse.data.world.timeline import Timeline
from vlcourse.files import flush, write_text, writing
from vlcourse.layers.ranges import RangeError

MOST_FPS = 240


def frames(timeline: Timeline, times: Sequence[float], size: int = 32) -> Tensor:
    """The film at these times.

    Args:
        timeline: the film.
        times: T times, in seconds from the beginning, each within the film.
        size: side of the frames in pixels, 32 to 448.

    Returns:
        uint8 (T, 3, size, size), RGB.

    Raises:
        ValueError: no times, a time outside the film, or a bad size.
    """
    if not len(times):
        raise ValueError("frames needs at least one time, in seconds.")
    return torch.from_numpy(render_batch([timeline.at(float(time)) for time in times], size))


def uniform_times(duration: float, n: int) -> list[float]:
    """The middles of n equal parts of a film, in seconds: 10 s and n = 2 give 2.5 and 7.5."""
    if n < 1:
        raise RangeError(f"n, the number of frames, must be at least 1; got {n}.")
    return [duration * (2 * i + 1) / (2 * n) for i in range(n)]


def frame_times(duration: float, fps: float) -> list[float]:
    """When each frame of a film is shown, in seconds: from 0 on, before its end."""
    if not 0 < fps <= MOST_FPS:
        raise RangeError(f"fps, the frames in a second, must be above 0, at most {MOST_FPS}: {fps}")
    return [i / fps for i in range(max(1, round(duration * fps)))]


def write_mp4(
    timeline: Timeline, path: Path | str, fps: float = 12, size: int = 224, subtitles: bool = False
) -> Path:
    """Write a film as an MP4 file (H.264), in one go.

    Args:
        timeline: the film.
        path: of the file; its folder is made if there is none.
        fps: frames in a second, up to 240.
        size: side of the frames in pixels, an even number from 32 to 448.
        subtitles: also write what is said beside it, in a file that ends in .srt.

    Returns:
        The path.

    Raises:
        ValueError: a bad rate or size.
        WriteError: the file cannot be written.
    """
    if size % 2:
        raise RangeError(f"H.264 needs an even number of pixels; got size={size}.")
    path, times = Path(path), frame_times(timeline.duration, fps)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with writing(path):
            _encode(timeline, temporary, times, fps, size)
            flush(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if subtitles:
        write_text(path.with_suffix(".srt"), timeline.srt())
    return path


def _encode(timeline: Timeline, path: Path, times: Sequence[float], fps: float, size: int) -> None:
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        step = 32  # frames drawn at a time
        for start in range(0, len(times), step):
            for picture in frames(timeline, times[start : start + step], size).numpy():
                rows = np.ascontiguousarray(picture.transpose(1, 2, 0))  # (3, S, S) -> (S, S, 3)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(rows, format="rgb24")))
        file.mux(stream.encode(None))
