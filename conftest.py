"""How `make test` runs the notebooks. (What the tests rely on: tests/conftest.py.)"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

BLANK = Path(__file__).parent / "notebooks"


@pytest.hookimpl(tryfirst=True)  # before the first cell of a notebook starts its kernel
def pytest_runtest_setup(item: pytest.Item) -> None:
    """With blank exercises a notebook runs in short; with solutions in full."""
    if item.path.suffix == ".ipynb":
        os.environ["VLCOURSE_QUICK"] = "1" if BLANK in item.path.parents else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run in full first, and of these the longest, so that none is alone at the end."""
    notebooks = [item for item in items if item.path.suffix == ".ipynb"]
    if len(notebooks) == len(items):
        cells = Counter(item.path for item in items)
        items.sort(key=lambda item: (BLANK in item.path.parents, -cells[item.path], item.path))
