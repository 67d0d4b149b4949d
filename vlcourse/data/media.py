"""What a chat is about: the sampled frames of a video with their times, or one picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from vlcourse import VlcourseError
from vlcourse.data.segments import Segment

CLOSE = 1e-6  # seconds: times are sums of fractions


class MediaError(VlcourseError, ValueError):
    """Frames and times that do not belong together."""


@dataclass(frozen=True)
class Media:
    """Sampled frames of a video; a picture is one frame at second 0 of a video without duration.

    Raises:
        MediaError: for no frames, another shape or type, or times that do not increase.
    """

    name: str
    """What it is called: a file's name."""
    frames: Tensor
    """(T, 3, H, W) uint8, RGB, upright."""
    times: tuple[float, ...]
    """When each frame was shown, in seconds from the beginning; increasing."""
    duration: float = 0.0
    """Of the whole video, in seconds; 0 for a picture."""
    notes: tuple[str, ...] = ()
    """Sentences that the reader should know: how much could be read of a broken file, say."""
    subtitles: tuple[Segment, ...] = ()
    """What is written under the picture, in the order of time."""
    path: Path | None = None
    """The file, where there is one: its sound, or further frames, are there."""

    def __post_init__(self) -> None:
        shape = tuple(self.frames.shape)
        if self.frames.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3 or 0 in shape:
            kind = str(self.frames.dtype).removeprefix("torch.")
            raise MediaError(f"{self.name}: frames must be uint8 (T, 3, H, W), not {kind} {shape}")
        if len(self.times) != len(self.frames):
            counts = f"{len(self.frames)} frames and {len(self.times)} times"
            raise MediaError(f"{self.name}: {counts} do not belong together")
        if any(not a < b for a, b in zip(self.times, self.times[1:], strict=False)):
            raise MediaError(f"{self.name}: the times of the frames must increase: {self.times}")

    @property
    def still(self) -> bool:
        """Whether it is a picture."""
        return not self.duration

    @property
    def ends(self) -> tuple[float, ...]:
        """Until when each frame stands for the video: the next one's time; at last the duration."""
        return (*self.times[1:], max(self.duration, self.times[-1]))

    def uniform(self, n: int) -> Media:
        """Of the frames, those shown at the middles of ``n`` equal spans of the duration.

        Each once: there are fewer than ``n`` where several middles fall on one frame.
        """
        middles = [(k + 0.5) / n * max(self.duration, self.times[-1]) for k in range(n)]
        return self.at(middles)

    def at_rate(self, fps: float) -> Media:
        """Of the frames, those shown at 0, 1/fps, 2/fps, … seconds after the first."""
        last = self.ends[-1]
        count = max(ceil((last - self.times[0]) * fps - 1e-6), 1)
        return self.at([self.times[0] + k / fps for k in range(count)])

    def at(self, seconds: list[float]) -> Media:
        """Of the frames, those shown at these times (before the first: the first), each once."""
        found = {
            max((i for i, t in enumerate(self.times) if t <= s + CLOSE), default=0) for s in seconds
        }
        kept = sorted(found)
        if len(kept) == len(self.times):
            return self  # and no copy
        return replace(
            self, frames=self.frames[kept], times=tuple(self.times[i] for i in kept)
        )  # fmt: skip


def sampled(times: tuple[float, ...]) -> str:
    """VideoChat's sentence about its frames: "The video contains 8 frames sampled at 0.1, …
    seconds." (Li et al. 2023, section 4)."""
    many = f"{len(times)} frame{'s' * (len(times) != 1)}"
    return f"The video contains {many} sampled at {', '.join(f'{t:.1f}' for t in times)} seconds."
