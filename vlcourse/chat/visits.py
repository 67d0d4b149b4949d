"""Who is on the page: to each visitor their own talk, and their file, which goes when they go."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from vlcourse.chat import ChatError
from vlcourse.chat.opening import open_media
from vlcourse.chat.talk import Cast, Talk, told
from vlcourse.data.media import Media

IDLE = 3600.0  # seconds after which a visit ends that was never closed


class Visit:
    """One visitor: what they look at, and the folder that holds their file meanwhile."""

    def __init__(self) -> None:
        self.talk: Talk | None = None
        self.asks: dict[str, str] = {}  # on each side of the page, the talker
        self.folder: Path | None = None
        self.seen = 0.0

    def looks_at(self, talk: Talk, side: str, talker: str) -> bool:
        """Whether this is still what is shown on a side: nothing and nobody else was chosen."""
        return self.talk is talk and self.asks.get(side) == talker

    def begin(self, talk: Talk | None, folder: Path | None = None) -> None:
        """Look at something else; what was looked at before is forgotten, and its file deleted."""
        before, self.folder, self.talk = self.folder, folder, talk
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)


class Visits:
    """All visitors, by what the browser calls the session.

    Args:
        folder: where the files lie, which is deleted as a whole at the end.
        clock: seconds; for the end of visits that are never closed.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self._clock = folder, clock
        self._lock = threading.Lock()
        self._open: dict[str, Visit] = {}
        self._taken: dict[Path, Path] = {}  # where an upload lay, and where it lies now

    def __len__(self) -> int:
        return len(self._open)

    def of(self, session: str) -> Visit:
        """The visit of a session; a new one has no talk yet."""
        with self._lock:
            now = self._clock()
            late = [name for name, visit in self._open.items() if now - visit.seen > IDLE]
            gone = [self._open.pop(name) for name in late if name != session]
            visit = self._open.setdefault(session, Visit())
            visit.seen = now
        for other in gone:
            other.begin(None)
        return visit

    def close(self, session: str) -> None:
        """The end of a visit."""
        with self._lock:
            visit = self._open.pop(session, None)
        if visit is not None:
            visit.begin(None)

    def bring(self, session: str, upload: Path, cast: Cast) -> Media:
        """Begin a talk about a file, which is moved to a place of its own.

        Raises:
            ChatError: when it cannot be talked about: the sentence says why. It is deleted, and
                what was looked at before stays.
        """
        with told():
            taken = self.take(upload)
            try:
                media = open_media(taken)
            except BaseException:
                shutil.rmtree(taken.parent, ignore_errors=True)
                raise
            self.of(session).begin(Talk(media, cast), taken.parent)
            return media

    def take(self, upload: Path) -> Path:
        """Move an upload into a folder of its own, which no address of the page reaches.

        Two visitors who send the same file at once have it at the same place, and whoever comes
        second finds it moved: then their copy is another name of the first one's file.

        Raises:
            ChatError: when it is no longer there.
        """
        with self._lock:
            self._taken = {was: now for was, now in self._taken.items() if now.is_file()}
            taken = Path(mkdtemp(dir=self.folder)) / upload.name
            try:
                if upload.is_file():
                    os.rename(upload, taken)
                else:
                    os.link(self._taken[upload], taken)
            except (KeyError, OSError) as error:
                shutil.rmtree(taken.parent, ignore_errors=True)
                raise ChatError("that file did not arrive: upload it again") from error
            self._taken[upload] = taken
        try:
            upload.parent.rmdir()  # it was made for this file
        except OSError:
            pass
        return taken
