"""Where things live: the checkout's ``data/`` folder, or the copy inside an installed wheel."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from vlcourse import VlcourseError

_PACKAGE = Path(__file__).resolve().parent


class CacheError(VlcourseError, OSError):
    """There is no folder where anything could be written."""


def root() -> Path:
    """The checkout that holds this package (its parent folder), editable installs included."""
    return _PACKAGE.parent


def in_checkout() -> bool:
    """True when the package runs from a checkout, False when it was installed as a wheel."""
    return (root() / "pyproject.toml").is_file() and (root() / "lectures").is_dir()


def data_dir() -> Path:
    """The folder of shipped data. ``VLCOURSE_DATA`` overrides it."""
    if override := os.environ.get("VLCOURSE_DATA"):
        return Path(os.path.expanduser(override))
    return root() / "data" if in_checkout() else _PACKAGE / "_data"


def checkpoints_dir() -> Path:
    """Shipped toy weights, one folder a model."""
    return data_dir() / "checkpoints"


def claims_dir() -> Path:
    """Results of the full experiments, one JSON file a claim."""
    return data_dir() / "claims"


def cache_dir(part: str = "") -> Path:
    """A writable folder for what can be made again; created on demand.

    The first of these that this user can write: ``VLCOURSE_CACHE``; ``cache`` in ``VLCOURSE_DATA``,
    or in the checkout's ``data``; ``vlcourse`` in ``XDG_CACHE_HOME`` or ``~/.cache``; a folder in
    the system's temporary one. So it does not fail on a read-only checkout or without a home.

    Args:
        part: a folder below it. It is chosen for itself: it may be someone else's where the rest
            is not.

    Raises:
        CacheError: nothing can be written, not even the temporary folder.
    """
    for folder in cache_candidates():
        if _writable(folder / part):
            return folder / part
    try:
        folder = _temporary() / part
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(
            f"no cache folder can be written, nor a temporary one ({error.strerror}): "
            "name a folder of your own in VLCOURSE_CACHE"
        ) from error
    return folder


def cache_candidates() -> list[Path]:
    """Where the cache is wanted, best first, whether it can be written there or not."""
    named = [os.environ.get("VLCOURSE_CACHE", "")]
    if os.environ.get("VLCOURSE_DATA") or in_checkout():
        named.append(str(data_dir() / "cache"))
    named.append(os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vlcourse"))
    expanded = [os.path.expanduser(name) for name in named if name]
    # Without a home "~" stays, and would be made as a folder of that name.
    return [Path(name).absolute() for name in expanded if not name.startswith("~")]


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, and those in it changed. Makes the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return all(os.access(path, os.W_OK) for path in folder.iterdir())
    except OSError:
        return False


def _temporary() -> Path:
    """This user's own folder below the system's temporary one, where others can write too."""
    user = os.getuid() if hasattr(os, "getuid") else 0  # Windows' temporary folder is the user's
    folder = Path(tempfile.gettempdir(), f"vlcourse-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid not in (user, 0) or folder.is_symlink() or not _writable(folder):
        return _private()
    return folder


@cache
def _private() -> Path:
    """A new temporary folder, the same for the whole process."""
    return Path(tempfile.mkdtemp(prefix="vlcourse-"))


def sockets_dir() -> Path:
    """A temporary folder whose name leaves room for that of a socket.

    The name of a Unix socket has at most 104 bytes (108 on Linux), and the tools that make them
    add up to 40 to the name of the temporary folder.
    """
    place = tempfile.gettempdir()
    short = os.name == "nt" or len(os.fsencode(place)) <= 60
    return Path(place if short else "/tmp")


def shorten_temporary() -> None:
    """Let this process and its children make their temporary files in :func:`sockets_dir`."""
    if str(sockets_dir()) != tempfile.gettempdir():
        tempfile.tempdir = os.environ["TMPDIR"] = str(sockets_dir())


def runs_dir() -> Path:
    """Where ``vlcourse train`` puts its runs: ``runs/`` under the current folder."""
    return Path("runs")


def data_folders() -> list[Path]:
    """Where photos and videos that the course does not ship are looked for, in this order."""
    folders = [data_dir(), data_dir() / "cache", cache_dir(), root().parent / "shared" / "data"]
    if override := os.environ.get("VLCOURSE_SHARED_DATA"):
        folders.insert(0, Path(os.path.expanduser(override)))
    return list(dict.fromkeys(folders))


def find_data(name: str) -> Path | None:
    """The folder ``name`` (such as "cifar10") in the first data folder that has it, or None."""
    found = (folder / name for folder in data_folders())
    return next((path for path in found if path.is_dir()), None)
