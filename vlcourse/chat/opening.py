"""A file that somebody hands over, as media: a picture, or a video; anything else is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from vlcourse.chat import ChatError
from vlcourse.data.media import Media
from vlcourse.data.sources.decode import BadSampleError, SourceError, decode
from vlcourse.data.sources.video import Sampling, read_video, scaled

SIDE = 448  # pixels of the longer side: no model of the course looks closer
PIXELS = 100_000_000  # of a picture: more would take gigabytes to read
MOST = 120  # frames of a video that are held for a talk


def open_media(path: Path, name: str = "", fps: float = 2.0) -> Media:
    """A picture or video file, sampled.

    Args:
        path: the file. What it is, is seen in it, and not in its name.
        name: what to call it; its own name by default.
        fps: frames that are taken of a second; fewer of a long video.

    Raises:
        ChatError: when it is neither, or is damaged; the sentence names it ``name``.
    """
    name = name or path.name
    if not path.is_file():
        raise ChatError(f"{name}: there is no such file")
    if not path.stat().st_size:
        raise ChatError(f"{name} is empty: choose another file")
    if _is_picture(path):
        return replace(_picture(path, name), path=path)
    try:
        media = read_video(path, Sampling(fps=fps, side=SIDE, most=MOST))
    except SourceError as error:
        raise ChatError(str(error).replace(str(path), name)) from error
    return replace(media, name=name)


def _is_picture(path: Path) -> bool:
    """Whether Pillow knows the format, and it is not an animation."""
    try:
        with Image.open(path) as picture:
            return picture.format != "GIF" or not getattr(picture, "is_animated", False)
    except Image.DecompressionBombError:  # a picture, and far too large
        return True
    except Exception:  # of a broken file Pillow raises nearly anything; PyAV has its turn
        return False


def _picture(path: Path, name: str) -> Media:
    from torchvision.transforms.v2 import functional as TF  # slow to import

    try:
        with Image.open(path) as found:
            width, height = found.size
        if width * height > PIXELS:
            raise Image.DecompressionBombError
        pixels = decode(str(path), Path())  # (3, H, W)
    except Image.DecompressionBombError as error:
        raise ChatError(
            f"{name} has too many pixels: at most {PIXELS:,} can be read; make it smaller"
        ) from error
    except BadSampleError as bad:
        raise ChatError(f"{name} cannot be read as a picture: {bad.reason}") from bad
    size = scaled((pixels.shape[1], pixels.shape[2]), SIDE)
    if size != tuple(pixels.shape[1:]):
        bicubic = TF.InterpolationMode.BICUBIC
        pixels = TF.resize(pixels, list(size), interpolation=bicubic, antialias=True)
    return Media(name, pixels[None], (0.0,))
