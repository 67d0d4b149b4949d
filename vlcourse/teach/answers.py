"""Shares of right answers by kind of question: who answered, with what interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from torch import Tensor

from vlcourse.evals.metrics import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Ends = Sequence[float]
"""A share and the ends of its interval, all 0 to 1."""


def shares(marks: Mapping[str, Tensor]) -> dict[str, Ends]:
    """Each kind's share with its 95 % interval over questions.

    ``marks``: kind → float (n,), 1 for right.
    """
    return {kind: (right.mean().item(), *bootstrap_interval(right))
            for kind, right in marks.items()}  # fmt: skip


def by_kind(
    axis: Axes,
    shown: Mapping[str, Mapping[str, Ends]],
    looks: Sequence[tuple[str, str]],
    apart: float = 0.16,
) -> None:
    """A mark with its interval for each who and each kind, in %, side by side at the kind's place.

    Args:
        axis: where.
        shown: who → kind → its share; a kind that someone was not asked is left out.
        looks: the mark and the colour of each who; where they end, they begin again.
        apart: between two marks of a kind, where kinds are 1 apart.
    """
    kinds = list(dict.fromkeys(kind for ends in shown.values() for kind in ends))
    middle_one = (len(shown) - 1) / 2
    for n, (who, (mark, colour)) in enumerate(zip(shown, cycle(looks), strict=False)):
        shift, label = apart * (n - middle_one), who
        for kind, each in shown[who].items():
            middle, low, high = (100 * end for end in each)
            axis.errorbar(
                kinds.index(kind) + shift, middle,
                [[max(middle - low, 0)], [max(high - middle, 0)]],
                fmt=mark, color=colour, capsize=4, markersize=8, label=label,
            )  # fmt: skip
            label = "_nolegend_"
    axis.set_xticks(range(len(kinds)), kinds)
    axis.grid(False, axis="x")
