"""What every test relies on: no network, one torch thread each, and the optional shared data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

# Before any test module imports a Hugging Face library, which reads these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of real data beside the checkout; ``VLCOURSE_SHARED_DATA`` names another one."""
    override = os.environ.get("VLCOURSE_SHARED_DATA")
    folder = Path(override).expanduser() if override else REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set VLCOURSE_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="module", autouse=True)
def own_fork_server(request: pytest.FixtureRequest) -> None:
    """Files that start processes with tests/forked.py share its server; any other has its own."""
    if "forked" not in vars(request.module):
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def torch_threads() -> Iterator[None]:
    """One thread per test process: results repeat, and xdist's workers do not fight over cores."""
    try:
        import torch
    except ImportError:  # doctor's tests must run where torch is broken
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with ``slow`` tests first, so that none runs alone at the end; no ``gpu`` without one.

    Those that fork stand together, the slow ones before the others: they share one server, which
    takes seconds to start. xdist hands out files in this order with ``--no-loadscope-reorder``.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    forks = {item.path for item in items if "forked" in vars(getattr(item, "module", item))}
    place = {(True, False): 0, (True, True): 1, (False, True): 2, (False, False): 3}
    items.sort(key=lambda item: place[item.path in slow, item.path in forks])
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA GPU on this machine"))
