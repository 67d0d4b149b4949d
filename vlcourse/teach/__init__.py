"""The teaching side: exercises, the claims ledger, figures, and the lecture builder.

The library never imports this package. ``VLCOURSE_QUICK=1`` asks for short live runs.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def is_quick() -> bool:
    """True when ``VLCOURSE_QUICK`` asks for short runs: anything but empty, 0, false or no."""
    return os.environ.get("VLCOURSE_QUICK", "").strip().lower() not in ("", "0", "false", "no")


def quick(full: T, short: T) -> T:
    """``full``, or ``short`` in quick mode: ``steps = quick(400, 20)``."""
    return short if is_quick() else full
