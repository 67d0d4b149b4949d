"""Small videos whose frames say in their colour which ones they are."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from torch import Tensor

TICKS = 600  # of a second, in which the times of frames are stored


def write_video(
    path: Path,
    times: Sequence[float] | int,
    *,
    fps: int = 10,
    size: tuple[int, int] = (48, 64),
    codec: str = "mpeg4",
    gop: int = 10,
    rotation: int = 0,
    flip: bool = False,
    sound: float = 0.0,
    corner: bool = False,
    ratio: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A video with a frame at each of the times (or so many at ``fps``), frame k in colour k.

    Args:
        size: height and width.
        gop: frames from a key frame to the next.
        rotation, flip: stored beside the picture, to be done by whoever shows it.
        sound: seconds of a tone; 0: no sound at all.
        corner: the top left quarter is white.
        ratio: of a pixel's width to its height.
        options: of the container.
    """
    times = [k / fps for k in range(times)] if isinstance(times, int) else times
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = stream.time_base = Fraction(1, TICKS)
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        if rotation or flip:
            stream.set_display_rotation(rotation, hflip=flip)
        tone = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for k, time in enumerate(times):
            pixels = np.full((*size, 3), (16 * (k % 16) + 8, 16 * (k // 16) + 8, 128), np.uint8)
            if corner:
                pixels[: size[0] // 2, : size[1] // 2] = 255
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            wave = np.sin(np.arange(round(16_000 * sound)) * (2 * np.pi * 440 / 16_000))
            for start in range(0, len(wave) - 1023, 1024):
                part = wave[None, start : start + 1024].astype(np.float32)
                heard = av.AudioFrame.from_ndarray(part, "fltp", "mono")
                heard.sample_rate, heard.pts = 16_000, start
                container.mux(tone.encode(heard))
            container.mux(tone.encode(None))
    return path


def numbers(frames: Tensor) -> list[int]:
    """Which ones some frames are, (T, 3, H, W), by the colour in their last corner."""
    colours = frames[:, :, -4:, -4:].float().mean(dim=(2, 3))  # (T, 3)
    red, green = ((colours[:, :2] - 8) / 16).round().int().unbind(dim=1)
    return (red + 16 * green).tolist()
