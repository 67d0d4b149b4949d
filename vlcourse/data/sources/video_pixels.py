"""From a decoded frame to pixels: as many as asked for, RGB, and the right way up."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter


class Pixels:
    """Frames of one video → uint8 pixels.

    Args:
        shape: height and width to bring them to, before they are turned.
        first: a frame; how the others are turned is stored beside it, too.
    """

    def __init__(self, shape: tuple[int, int], first: av.VideoFrame) -> None:
        self._height, self._width = shape
        self._scaler = VideoReformatter()  # its tables are made once: they take longer than a frame
        # A frame and its side data refer to each other, and so stay in memory: asked for once only.
        self._matrix = display_matrix(first)

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """(H, W, 3), RGB, upright."""
        small = self._scaler.reformat(
            frame, self._width, self._height, "rgb24", interpolation="BICUBIC"
        )
        return upright(small.to_ndarray(), self._matrix)


def scaled(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width, made smaller until none is above ``side``, in the same ratio."""
    share = min(side / max(shape), 1.0)
    height, width = (max(round(length * share), 1) for length in shape)
    return height, width


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """a, b, c, d of the matrix stored beside a frame: (x, y) is shown at (a·x + c·y, b·x + d·y).

    ISO/IEC 14496-12, 8.3.2. Quarter turns and mirrors only: for anything else it is that of a
    picture which stays as it is.
    """
    kept: Any = frame.side_data.get("DISPLAYMATRIX")
    if kept is not None:
        matrix = np.frombuffer(memoryview(kept), "=i4")  # 16.16 fixed point
        a, b, _, c, d = (round(int(value) / 65536) for value in matrix[:5])
        if abs(a * d - b * c) == 1 and 0 in (a, b):
            return a, b, c, d
    return 1, 0, 0, 1


def upright(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """(H, W, 3) as a camera stored it → as it is to be shown; phones store a turn beside it."""
    a, b, c, d = matrix
    if a == 0:
        pixels = pixels.swapaxes(0, 1)  # (W, H, 3): x and y change places
        a, d = c, b
    if a < 0:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if d < 0 else pixels
