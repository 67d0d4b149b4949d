"""Opening a video that somebody else made, and walking through its frames by time.

A container can name other files and addresses (playlists, lists of parts, patterns of names), so
only formats are opened that hold their own data, from this machine's disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av

from vlcourse.data.sources.decode import SourceError, shorten

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,ogg,asf,gif,ivf,nut,mxf,dv,"
    "h264,hevc,m4v,wav,mp3,flac,aac"
)
OWN_DATA = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
PIXELS = 2**26  # of one frame, 8,192 × 8,192: beyond it a few frames fill the memory
CLOSE = 1e-6  # seconds: times are sums of fractions
JUMP = 0.5  # seconds: going on by less is never quicker with a seek
BACK = (
    0.0,
    1.0,
    4.0,
    16.0,
)  # seconds before a time to seek to, until a frame at or before it comes
ERRORS = 100  # damaged packets in a row after which nothing more is expected


@dataclass(frozen=True)
class Shown:
    """A decoded frame and when it was on the screen, in seconds from the first frame."""

    start: float
    end: float
    frame: av.VideoFrame


class VideoFile:
    """A video file, open for reading; use it in a ``with`` statement.

    Args:
        path: the file.

    Raises:
        SourceError: when there is no such file, it is empty, no video, of an unknown or refused
            format, or its pictures have a codec that is not known here.

    Attributes:
        duration: of the picture, in seconds.
        damaged: how many packets or frames could not be decoded so far.
        timed: False once a frame had no presentation time; it is then counted with the mean rate.
        ended: whether the last frame was reached.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.container = opened(self.path)
        self.damaged, self.timed, self.ended = 0, True, False
        try:
            self.stream = self._video()
            self.codec: Any = self.stream.codec_context
            if self.codec is None:
                raise SourceError(
                    f"{path}: its pictures have a codec that is not known here; convert it to MP4 "
                    "with H.264"
                )
            if self.codec.width * self.codec.height > PIXELS:
                raise SourceError(
                    f"{path}: its frames have {self.codec.width:,} × {self.codec.height:,} pixels, "
                    f"more than the {PIXELS:,} that are read; scale it down"
                )
            self.codec.thread_type = "AUTO"
            self._unit = float(self.stream.time_base or 0)
            self._zero = (self.stream.start_time or 0) * self._unit
            self.duration = self._measured_duration(self._told_duration())
        except BaseException:
            self.container.close()
            raise

    def _video(self) -> Any:
        for stream in self.container.streams.video:
            if not stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a song
                return stream
        raise SourceError(f"{self.path} has no video: {_contents(self.container)}")

    def _told_duration(self) -> float:
        if self.stream.duration:
            return self.stream.duration * self._unit
        if self.container.duration:
            return self.container.duration / av.time_base - max(self._zero, 0.0)
        return 0.0

    def _measured_duration(self, told: float) -> float:
        """The end of the last packet, or what the file says where that is later.

        The packets after the last key frame are looked at, and none is decoded: what a file says
        can be too little where the rate varies, or nothing at all.
        """
        last, step = told, self._step()
        with suppress(av.FFmpegError, OverflowError):
            if told:
                goal = round((told + self._zero) / self._unit)
                self.container.seek(goal, stream=self.stream, backward=True)
            for number, packet in enumerate(self.container.demux(self.stream)):
                if packet.size and (packet.pts is not None or not told):
                    at = number * step if packet.pts is None else packet.pts * self._unit
                    length = (packet.duration or 0) * self._unit or step
                    last = max(last, at + min(length, step) - self._zero)
        self._rewind()
        return last

    def _rewind(self) -> None:
        self.container.close()
        self.container = opened(self.path)
        self.stream = self._video()
        self.codec = self.stream.codec_context
        self.codec.thread_type = "AUTO"

    def _step(self) -> float:
        rate = self.stream.average_rate or self.stream.guessed_rate or 25
        return float(1 / rate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.container.close()

    @property
    def has_sound(self) -> bool:
        """Whether there is any."""
        return bool(self.container.streams.audio)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the pictures as they are to be shown, but not yet turned."""
        ratio = self.stream.sample_aspect_ratio or self.codec.sample_aspect_ratio or 1
        wide = round(self.codec.width * (float(ratio) if 0.1 < ratio < 10 else 1.0))
        return self.codec.height, max(wide, 1)

    def on_screen(self, seconds: Iterable[float]) -> Iterator[Shown]:
        """The frames that are on the screen at these times.

        Far ahead it is sought for, so that not everything is decoded; the frames in between are
        decoded where that is the shorter way. At most three frames are held at a time.

        Args:
            seconds: increasing times.

        Yields:
            Each frame once, even if it stands through several of the times. Before the first frame
            it is the first, after the last the last.
        """
        frames = self._decoded()
        before: Shown | None = None
        after, shown, far = next(frames, None), -inf, JUMP
        for second in seconds:
            if after is not None and second - after.start > far:
                frames, landed = self._sought(second, frames, after)
                if landed is not after:
                    if landed is None or landed.start <= after.start:  # it was no shorter way
                        far = max(2 * far, second - (landed.start if landed else 0.0))
                    before, after = None, landed
                else:
                    far = inf  # this file cannot be sought in
            while after is not None and after.start <= second + CLOSE:
                before, after = after, next(frames, None)
            self.ended = after is None
            found = before or after
            if found is None:
                return
            if found.start > shown:
                yield found
                shown = found.start

    def _sought(
        self, second: float, frames: Iterator[Shown], here: Shown
    ) -> tuple[Iterator[Shown], Shown | None]:
        """Go to the key frame before a time: the frames from there, and the first of them."""
        for back in (*BACK, second):
            goal = round((max(second - back, 0.0) + self._zero) / self._unit)
            try:
                self.container.seek(goal, stream=self.stream, backward=True)
            except (av.FFmpegError, OverflowError):
                return frames, here
            frames = self._decoded()
            first = next(frames, None)
            if first is not None and first.start <= second:
                return frames, first
        return frames, first

    def _decoded(self) -> Iterator[Shown]:
        """All frames from here on, in the order in which they are shown."""
        last, step = -inf, self._step()
        for frame in self._frames():
            if frame.pts is None:
                self.timed = False
                start = max(last + step, 0.0)
            else:
                start = frame.pts * self._unit - self._zero
            if start > last and start >= -step:  # what stands before the beginning is not shown
                last = max(start, 0.0)
                yield Shown(last, last + ((frame.duration or 0) * self._unit or step), frame)

    def _frames(self) -> Iterator[av.VideoFrame]:
        errors = 0
        while errors < ERRORS:
            try:
                for packet in self.container.demux(self.stream):
                    try:
                        for frame in packet.decode():
                            if frame.is_corrupt:
                                self.damaged += 1
                            else:
                                errors = 0
                                yield frame
                    except av.EOFError:
                        return
                    except av.FFmpegError:
                        self.damaged, errors = self.damaged + 1, errors + 1
                        if errors >= ERRORS:
                            return
                return
            except av.FFmpegError:
                self.damaged, errors = self.damaged + 1, errors + 1


def opened(path: Path) -> Any:
    """PyAV's container of a file.

    Raises:
        SourceError: when it cannot be one, in a sentence.
    """
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "is no file here"
        raise SourceError(f"{shorten(str(path))} {what}: name a video, .mp4 say")
    if not os.path.getsize(path):
        raise SourceError(f"{path} is empty: get it again")
    try:
        return av.open(os.path.abspath(path), options=OWN_DATA, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        kind = (
            "it is broken (cut off, often), or no video"
            if isinstance(error, av.InvalidDataError)
            else "it is of a kind that is not opened here: a playlist, or another list of files"
            if isinstance(error, av.ArgumentError)
            else shorten(getattr(error, "strerror", "") or str(error))
        )
        raise SourceError(
            f"{path} cannot be opened as a video: {kind}. Get it again, or convert it to MP4"
        ) from error


def _contents(container: Any) -> str:
    kinds = sorted({"sound" if s.type == "audio" else s.type for s in container.streams})
    return f"there is only {' and '.join(kinds)} in it" if kinds else "there is nothing in it"
