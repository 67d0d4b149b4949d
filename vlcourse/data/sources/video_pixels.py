"""From a decoded frame to pixels: as many as asked for, RGB, and the right way up."""

from __future__ import annotations

from typing import Any

import av
import numpy as np


def scaled(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width, made smaller until none is above ``side``, in the same ratio."""
    share = min(side / max(shape), 1.0)
    height, width = (max(round(length * share), 1) for length in shape)
    return height, width


def pixels_of(frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """A decoded frame → (H, W, 3) uint8 RGB, upright; ``size`` is (H, W) before it is turned."""
    small = frame.reformat(width=size[1], height=size[0], format="rgb24", interpolation="BICUBIC")
    return upright(small.to_ndarray(), frame)


def upright(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) as a camera stored it → as it is to be shown; phones store a turn beside it.

    The display matrix maps (x, y) to (a·x + c·y, b·x + d·y) (ISO/IEC 14496-12, 8.3.2); quarter
    turns and mirrors are followed, anything else is left as it is.
    """
    kept: Any = frame.side_data.get("DISPLAYMATRIX")
    if kept is None:
        return pixels
    matrix = np.frombuffer(memoryview(kept), "=i4")  # 16.16 fixed point
    a, b, _, c, d = (round(int(value) / 65536) for value in matrix[:5])
    if abs(a * d - b * c) != 1 or 0 not in (a, b):
        return pixels
    if a == 0:
        pixels = pixels.swapaxes(0, 1)  # (W, H, 3): x and y change places
        a, d = c, b
    if a < 0:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if d < 0 else pixels
