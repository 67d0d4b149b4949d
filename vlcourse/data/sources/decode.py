"""Picture files to RGB tensors, and the account of the samples that could not be read."""

from __future__ import annotations

from vlcourse import VlcourseError

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

REASONS = (
    "no image",
    "missing image file",
    "corrupt image",
    "web address instead of an image",
    "empty caption",
    "bad label",
)
ENOUGH = 1000  # samples before a source that is not read whole may be judged by its bad share


class SourceError(VlcourseError, ValueError):
    """A data source cannot be used; the message says what, where, and what to do."""


class BadSampleError(VlcourseError):
    """One sample cannot be used. ``reason`` is one of ``REASONS``, ``detail`` says more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def to_rgb(picture: Image.Image) -> Image.Image:
    """Upright 8-bit RGB from any Pillow mode: grey, palette, CMYK, RGBA, 16-bit, EXIF-rotated.

    Transparent pixels are laid over white, because the colours under them are arbitrary; 16-bit
    grey keeps its upper 8 bits (Pillow's own conversion would clip it to white).
    """
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):
        upper = np.clip(np.asarray(picture, dtype=np.int64) >> 8, 0, 255)
        return Image.fromarray(upper.astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def decode(value: Any, folder: Path | None = None) -> torch.Tensor:
    """A stored picture as a uint8 tensor (3, H, W).

    Args:
        value: encoded bytes, a path, a Pillow image, or ``{"bytes": …, "path": …}`` (the form in
            which the datasets library stores an image).
        folder: where relative paths start; None refuses paths.

    Raises:
        BadSampleError: nothing there, no such file, or no decoder could read it.
    """
    if isinstance(value, Mapping):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if value is None or (isinstance(value, str | bytes) and not value):
        raise BadSampleError("no image")
    file: Any = value
    if isinstance(value, bytes):
        file = io.BytesIO(value)
    elif isinstance(value, str):
        if value.startswith(("http://", "https://")):
            raise BadSampleError("web address instead of an image", value)
        file = (folder or Path()) / value
        if folder is None or not file.is_file():
            raise BadSampleError("missing image file", str(file))
    try:
        if isinstance(file, Image.Image):
            pixels = np.array(to_rgb(file))
        else:
            with Image.open(file) as picture:
                pixels = np.array(to_rgb(picture))
    except Exception as error:  # a broken file makes Pillow's decoders raise nearly anything
        where = f"{value}: " if isinstance(value, str) else ""
        raise BadSampleError("corrupt image", f"{where}{error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)


def skip_report(
    name: str, rows: int, counts: Mapping[str, int], examples: Sequence[tuple[str, BadSampleError]]
) -> str:
    """One sentence: how many of ``rows`` samples were skipped, why, and the first examples."""
    bad = sum(counts.values())
    if not bad:
        return f"{name}: all {rows:,} samples read so far are good."
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
    text = f"{name}: skipped {bad:,} of {rows:,} samples ({bad / rows:.1%}): {reasons}."
    shown = "; ".join(
        f"{key} ({bad.reason}{': ' + bad.detail if bad.detail else ''})" for key, bad in examples
    )
    return f"{text} First: {shown}." if shown else text
