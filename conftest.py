"""Notebooks with blank exercises run in short; solutions in full. (Tests: tests/conftest.py.)"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BLANK = Path(__file__).parent / "notebooks"


@pytest.hookimpl(tryfirst=True)  # before the first cell of a notebook starts its kernel
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.path.suffix == ".ipynb":
        os.environ["VLCOURSE_QUICK"] = "1" if BLANK in item.path.parents else ""
