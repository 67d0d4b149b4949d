"""Videos as frames with their times: so many a second, so many in all, or of a stretch of time.

What is held is the frames that were asked for, scaled down while they are decoded, and never the
file. Times are presentation times, so that they are right for a varying rate, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vlcourse.data.media import Media
from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.find import local_path
from vlcourse.data.sources.video_file import Shown, VideoFile
from vlcourse.data.sources.video_pixels import Pixels, scaled
from vlcourse.layers.ranges import check

SHORT = 0.5  # seconds: a picture that ends by more than this too early is cut off


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are read, and how large."""

    fps: float = 1.0
    """Frames a second: those on the screen at 0, 1/fps, 2/fps, … (VideoChat-Text: 1)."""
    frames: int = 0
    """So many instead, at the middles of as many equal spans (VideoChat-Embed: 4, then 8)."""
    start: float = 0.0
    """From this second on."""
    end: float | None = None
    """Up to this second; None: to the end."""
    side: int = 320
    """The longer side of a frame, in pixels; smaller ones stay as they are."""
    most: int = 600
    """Most frames; where ``fps`` gives more, the rate is lowered, and a note says so."""

    def __post_init__(self) -> None:
        check(self, fps=(1e-3, 1e3), frames=(0, 100_000), start=(0, 1e7), end=(0, 1e7))
        check(self, side=(8, 8_192), most=(1, 100_000))
        if self.end is not None and self.end <= self.start:
            raise SourceError(f"there is no time between second {self.start:g} and {self.end:g}")

    def seconds(self, duration: float) -> list[float]:
        """When to look, in a video of that duration."""
        end = duration if self.end is None else min(self.end, duration)
        span = max(end - self.start, 0.0)
        if self.frames:
            n = self.frames
            return [self.start + (k + 0.5) * span / n for k in range(n)]
        count = max(ceil(span * self.fps - 1e-6), 1)
        step = 1 / self.fps if count <= self.most else span / self.most
        return [self.start + k * step for k in range(min(count, self.most))]


def read_video(path: str | Path, sampling: Sampling | None = None) -> Media:
    """Frames of a video file, with the times at which they were on the screen.

    Of a file that is cut off or damaged, the readable part; ``notes`` says how much that is.

    Args:
        path: the file: MP4, MOV, MKV, WebM, AVI, GIF, …
        sampling: which frames; one a second by default.

    Returns:
        Frames upright and with square pixels. Each stands once: there are fewer than asked for
        where a video has fewer, or shows one for longer.

    Raises:
        SourceError: for no such file, no video in it, a format or codec that is not known, a file
            of which nothing can be read, or a stretch after its end.
    """
    sampling = sampling or Sampling()
    path = local_path(str(path))
    with VideoFile(path) as video:
        duration, notes = video.duration, []
        if sampling.start >= duration > 0:
            raise SourceError(
                f"{path} is {duration:.1f} seconds long: nothing is shown at {sampling.start:g} s"
            )
        frames, times, end = _read(video, sampling, duration)
        if not times:
            raise SourceError(f"{path} is damaged: not one of its frames can be read. Get it again")
        if end is not None and duration - end > SHORT:
            notes.append(
                f"The picture ends at {end:.1f} of {duration:.1f} seconds: the file is cut off, or "
                "shows nothing new from there on."
            )
            duration = end
            if sampling.frames and sampling.start < end:  # spread over what there is
                with VideoFile(path) as again:
                    frames, times, _ = _read(again, sampling, duration)
        if video.damaged:
            notes.append(f"{video.damaged} damaged pieces were passed over.")
        if not video.timed:
            notes.append("The file has no presentation times: they come from its mean rate.")
        wanted = (min(sampling.end or duration, duration) - sampling.start) * sampling.fps
        if not sampling.frames and wanted > sampling.most:
            notes.append(f"It is long: {sampling.most} frames stand for {wanted:.0f}.")
    return Media(path.name, frames, times, max(duration, times[-1] + 1e-3), tuple(notes), path=path)


def _read(
    video: VideoFile, sampling: Sampling, duration: float
) -> tuple[Tensor, tuple[float, ...], float | None]:
    """(T, 3, H, W) frames, their times, and where the picture ended, if it was read to its end."""
    seconds = sampling.seconds(duration)
    held: Tensor | None = None
    times: list[float] = []
    end = None
    for shown in _until(video.on_screen(seconds), sampling.end):
        if held is None:
            pixels_of = Pixels(scaled(video.shape, sampling.side), shown.frame)
        pixels = pixels_of(shown.frame)  # (H, W, 3)
        if held is None:  # memory is taken page by page, as frames are written to it
            height, width, _ = pixels.shape
            held = torch.empty(len(seconds), 3, height, width, dtype=torch.uint8)
        held[len(times)] = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        times.append(shown.start)
        end = shown.end
    if held is None:
        return torch.empty(0), (), None
    return held[: len(times)], tuple(times), end if video.ended else None


def _until(frames: Iterator[Shown], end: float | None) -> Iterator[Shown]:
    for shown in frames:
        if end is not None and shown.start >= end:
            return
        yield shown
