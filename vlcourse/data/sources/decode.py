"""Picture files to RGB tensors, and the account of the samples that could not be read."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlcourse import VlcourseError

REASONS = (
    "no image",
    "missing image file",
    "corrupt image",
    "unknown range of pixels",
    "web address instead of an image",
    "empty caption",
    "bad label",
)
ORIENTATION, TIFF_BITS = 0x0112, 258  # tags of EXIF and TIFF
TURNS = dict(
    zip(
        range(2, 9),  # the EXIF orientations after 1, which is upright
        (
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ),
        strict=True,
    )
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
    """Upright 8-bit RGB from any Pillow mode: grey, palette, CMYK, RGBA, deep grey, EXIF-rotated.

    Transparent pixels are laid over white, because the colours under them are arbitrary.

    Raises:
        BadSampleError: deep grey of a range that nobody can know (see ``deep_to_8_bits``).
    """
    picture = upright(picture)
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode[0] in "IF":
        bits = getattr(picture, "tag_v2", {}).get(TIFF_BITS, (0,))[0]
        return Image.fromarray(deep_to_8_bits(np.asarray(picture), bits)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; a broken tag beside that one is no harm."""
    picture.load()  # a TIFF is turned here, and then says so
    try:
        turn = TURNS.get(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # an EXIF block that cannot be read at all says nothing
        turn = None
    return picture if turn is None else picture.transpose(turn)


def deep_to_8_bits(grey: np.ndarray, bits: int = 0) -> np.ndarray:
    """Grey values of more than 8 bits, or floats, (H, W) → uint8 by their true range.

    Whole numbers: of 12 bits where the file says so (TIFF) or none reaches 4,096, as cameras and
    scanners store them in 16; else of 16 bits. Floats: 0 to 1, or 0 to 255 where one is above 1.

    Raises:
        BadSampleError: values below or above these ranges, or no numbers.
    """
    low, high = (float(grey.min()), float(grey.max())) if grey.size else (0.0, 0.0)
    if grey.dtype.kind == "f":
        most = 1.0 if high <= 1 else 255.0
    else:
        most = 4095.0 if bits == 12 or high < 4096 else 65535.0
    if not (0 <= low and high <= most):  # NaN is caught here, too
        raise BadSampleError("unknown range of pixels", f"from {low:g} to {high:g}")
    return np.floor(grey * (255.999 / most)).astype(np.uint8)


def describe(value: Any) -> str:
    """What a value is, in a few words, for the message that refuses it."""
    if isinstance(value, Mapping):
        return f"a struct of {shorten(', '.join(map(str, value)))}" if value else "an empty struct"
    if isinstance(value, str):
        return repr(shorten(value))
    sizes, inner = list(getattr(value, "shape", ())), value
    while isinstance(inner, list | tuple) and len(sizes) < 4:
        sizes.append(len(inner))
        inner = inner[0] if inner else None
    what = f"of {' × '.join(map(str, sizes))} values" if sizes else shorten(str(value))
    return f"{type(value).__name__} {what}"


def shorten(text: str, most: int = 120) -> str:
    """A text for a message: its beginning, and without what cannot be printed."""
    text = text[:most].encode("utf-8", "backslashreplace").decode() + "…" * (len(text) > most)
    return text.replace("\n", " ").replace("\0", "\\0")


def decode(value: Any, folder: Path | None = None) -> torch.Tensor:
    """A stored picture as a uint8 tensor (3, H, W).

    Args:
        value: encoded bytes, a path, a Pillow image, or ``{"bytes": …, "path": …}`` (the form in
            which the datasets library stores an image).
        folder: where relative paths start; None refuses paths.

    Raises:
        BadSampleError: nothing there, no such file, or no decoder could read it.
    """
    found = value
    if isinstance(value, Mapping):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if value is None or (isinstance(value, str | bytes) and not value):
        raise BadSampleError("no image", "" if found is None else f"found {describe(found)}")
    file: Any = value
    if isinstance(value, bytes):
        file = io.BytesIO(value)
    elif isinstance(value, str):
        if value.startswith(("http://", "https://")):
            raise BadSampleError("web address instead of an image", shorten(value))
        file = os.path.join(folder or "", value)
        if folder is None or not os.path.isfile(file):  # False for a name that cannot be one, too
            raise BadSampleError("missing image file", shorten(file))
    elif not isinstance(value, Image.Image):
        raise BadSampleError("no image", f"found {describe(found)}")
    try:
        if isinstance(file, Image.Image):
            pixels = np.array(to_rgb(file))
        else:
            with Image.open(file) as picture:
                pixels = np.array(to_rgb(picture))
    except BadSampleError:
        raise
    except Exception as error:  # a broken file makes Pillow's decoders raise nearly anything
        where = f"{value}: " if isinstance(value, str) else ""
        raise BadSampleError("corrupt image", shorten(f"{where}{error}", 200)) from error
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
