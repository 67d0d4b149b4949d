"""The plots of BLIP-2's stored experiments (data/claims), one function a claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vlcourse.teach.measurement import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTS: dict[str, Callable[[Measurement], Figure]] = {}
