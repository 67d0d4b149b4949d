"""Where things live: the checkout's ``data/`` folder, or the copy inside an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The checkout that holds this package (its parent folder), editable installs included."""
    return _PACKAGE.parent


def in_checkout() -> bool:
    """True when the package runs from a checkout, False when it was installed as a wheel."""
    return (root() / "pyproject.toml").is_file() and (root() / "lectures").is_dir()


def data_dir() -> Path:
    """The folder of shipped data. ``VLCOURSE_DATA`` overrides it."""
    if override := os.environ.get("VLCOURSE_DATA"):
        return Path(override).expanduser()
    return root() / "data" if in_checkout() else _PACKAGE / "_data"


def checkpoints_dir() -> Path:
    """Shipped toy weights, one folder a model."""
    return data_dir() / "checkpoints"


def claims_dir() -> Path:
    """Results of the full experiments, one JSON file a claim."""
    return data_dir() / "claims"


def cache_dir() -> Path:
    """A writable folder for what can be made again; created on demand."""
    if "VLCOURSE_DATA" in os.environ or in_checkout():
        path = data_dir() / "cache"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        path = Path(base) / "vlcourse"
    path.mkdir(parents=True, exist_ok=True)
    return path


def runs_dir() -> Path:
    """Where ``vlcourse train`` puts its runs: ``runs/`` under the current folder."""
    return Path("runs")


def data_folders() -> list[Path]:
    """Where photos and videos that the course does not ship are looked for, in this order."""
    folders = [data_dir(), cache_dir(), root().parent / "shared" / "data"]
    if override := os.environ.get("VLCOURSE_SHARED_DATA"):
        folders.insert(0, Path(override).expanduser())
    return folders


def find_data(name: str) -> Path | None:
    """The folder ``name`` (such as "cifar10") in the first data folder that has it, or None."""
    found = (folder / name for folder in data_folders())
    return next((path for path in found if path.is_dir()), None)
