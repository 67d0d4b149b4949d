"""What was measured with several seeds, as plots of stored experiments need it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from vlcourse.evals.metrics import seed_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BY_SEED = Sequence[Mapping[str, float]]
"""An arm: for each seed what was found, by name."""


def steps_of(found: Mapping[str, float], what: str) -> list[int]:
    """At which steps something was noted on the way, as "loss 10": 3.2 is."""
    return sorted(int(name.split()[1]) for name in found if name.startswith(f"{what} "))


def band(
    axis: Axes, found: BY_SEED, what: str, colour: str, label: str | None = None, scale: float = 1
) -> None:
    """A curve of what was noted on the way: a mean over seeds, with its 95 % interval.

    Args:
        axis: where.
        found: an arm.
        what: "loss" for what is there as "loss 10", "loss 20", ….
        colour: of the curve.
        label: its name in a legend.
        scale: what the numbers are multiplied by.
    """
    steps = steps_of(found[0], what)
    values = [[scale * each[f"{what} {step}"] for each in found] for step in steps]
    middle = [mean(each) for each in values]
    low, high = ([seed_interval(each)[i] for each in values] for i in (0, 1))
    axis.plot(steps, middle, "o-", color=colour, markersize=5, label=label)
    axis.fill_between(steps, low, high, color=colour, alpha=0.18)
    axis.set_xlim(left=0)


def by_kind(
    arms: Mapping[str, BY_SEED], names: Iterable[str], kinds: Mapping[str, str]
) -> dict[str, BY_SEED]:
    """The arms' numbers, by kind first: for each seed what each arm did of it.

    Args:
        arms: all arms.
        names: of those that are wanted.
        kinds: by what a kind is called, the name of its number.
    """
    wanted = [(name, arms[name]) for name in names]
    seeds = range(len(wanted[0][1]))
    return {
        kind: [{name: found[seed][at] for name, found in wanted} for seed in seeds]
        for kind, at in kinds.items()
    }
