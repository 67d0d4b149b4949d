"""Films in a notebook: one to watch, and its frames side by side over the time they show.

matplotlib and IPython are imported inside the functions, as in :mod:`vlcourse.teach.show`.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlcourse.data.world.film import write_mp4
from vlcourse.data.world.timeline import Timeline
from vlcourse.teach import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 8 << 20  # bytes of a film that is put into a notebook


def video(film: Timeline | Path | str, fps: float = 12, size: int = 224) -> Any:
    """A film to watch, with the browser's own controls, inside the notebook's file.

    Args:
        film: a `Timeline`, which is drawn, or the path of an MP4 file.
        fps, size: frames in a second, and their side in pixels, of a `Timeline`.

    Raises:
        ValueError: the file has more than 8 MB.
    """
    from IPython.display import HTML

    if isinstance(film, Timeline):
        with tempfile.TemporaryDirectory() as folder:
            data = write_mp4(film, Path(folder) / "film.mp4", fps, size).read_bytes()
        words, width = film.captions()[0], size
    else:
        path = Path(film)
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path} is too large for a notebook, which takes 8 MB: shorten it")
        data, words, width = path.read_bytes(), path.name, 480
    source = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
    return HTML(
        f'<video controls loop muted playsinline width="{width}" aria-label="{words}" '
        f'src="{source}"></video>'
    )


def strip(
    frames: Sequence[Any], times: Sequence[float], title: str = "", columns: int = 8
) -> Figure:
    """Frames in order, each under its time in seconds."""
    if len(frames) != len(times):
        raise ValueError(f"strip got {len(frames)} frames but {len(times)} times")
    return show.grid(frames, [f"{time:.1f} s" for time in times], columns, size=1.5, title=title)
