"""The sound of a video, as speech is recognised from it: one channel, 16,000 numbers a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np

from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.find import local_path
from vlcourse.data.sources.video_file import opened

RATE = 16_000  # samples a second


def read_sound(path: str | Path, most: float = 3600.0) -> Iterator[np.ndarray]:
    """Pieces of a file's sound, one after the other; a file of hours is never held whole.

    What cannot be decoded is passed over; the silence before a sound that begins late is there.

    Args:
        path: a video, or a file of sound.
        most: seconds after which it ends.

    Yields:
        (N,) int16; nothing at all for a file without sound.

    Raises:
        SourceError: when it cannot be opened, or its sound has a codec that is not known.
    """
    path = local_path(str(path))
    with opened(path) as container:
        if not container.streams.audio:
            return
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise SourceError(f"{path}: its sound has a codec that is not known here")
        zero = min((s.start_time or 0) * (s.time_base or 0) for s in container.streams)
        late = float((stream.start_time or 0) * (stream.time_base or 0) - zero)
        left = int(most * RATE)
        if 0 < late < most:
            left -= round(late * RATE)
            yield np.zeros(round(late * RATE), np.int16)
        resampler = av.AudioResampler("s16", "mono", RATE)
        for frame in _frames(container, stream):
            for part in resampler.resample(frame):
                piece = part.to_ndarray().reshape(-1)[:left]  # (1, N) → (N,)
                left -= len(piece)
                if len(piece):
                    yield piece
                if left <= 0:
                    return


def _frames(container: object, stream: object) -> Iterator[av.AudioFrame | None]:
    """Every frame that can be decoded, and None at last: what the resampler holds back."""
    with suppress(av.FFmpegError):
        for packet in container.demux(stream):  # type: ignore[attr-defined]
            with suppress(av.FFmpegError):
                yield from packet.decode()
    yield None
