"""Where the actors of a film stand and go: places that keep apart what does not touch.

All geometry is in integers, with the picture `UNIT` wide and high, as in
:mod:`vlcourse.data.world.arrays`.
"""

from __future__ import annotations

from dataclasses import dataclass

from vlcourse.data.world.arrays import RADII, UNIT
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.script import Script
from vlcourse.data.world.words import SIZES

GAP = 40  # between actors that do not touch; 4 % of the picture
EDGE = 16
SHORTEST_WAY, LONGEST_WAY = 200, 400
_TRIES, _ATTEMPTS = 30, 4000
_STEP = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True)
class Way:
    """The place of an actor at first, and where its move or its hit takes it, in 1/1024."""

    x: int
    y: int
    to_x: int
    to_y: int

    def distance2(self, other: Way) -> int:
        """The least squared distance between two ways, which are parallel to the sides."""
        gaps = []
        for a, b, c, d in (
            (self.x, self.to_x, other.x, other.to_x),
            (self.y, self.to_y, other.y, other.to_y),
        ):
            gaps.append(max(0, min(c, d) - max(a, b), min(a, b) - max(c, d)))
        return gaps[0] ** 2 + gaps[1] ** 2


@dataclass(frozen=True)
class Stage:
    """The ways of the actors, and the radii that each has when it is small and when it is large."""

    ways: tuple[Way, ...]
    radii: tuple[tuple[int, int], ...]


def staged(script: Script) -> Stage:
    """Places for a script: actors keep `GAP` apart on all their ways, but for those that hit.

    Raises:
        RuntimeError: when there are none; scripts that are sampled have some.
    """
    hits = {event.who: event for event in script.of_kind("hit")}
    sizes = [actor.size or SIZES[0] for actor in script.actors]
    widest = list(sizes)
    for event in script.of_kind("size"):
        widest[event.who] = SIZES[1]
    order = sorted(range(len(sizes)), key=lambda who: (who in hits, who not in _movers(script)))
    targets = [event.whom for event in hits.values()]
    order.sort(key=lambda who: (who not in targets, who not in hits))
    for attempt in range(_ATTEMPTS):
        dice = Dice(script.seed, "stage", attempt)
        drawn = [Dice(dice.bits, "stage", who) for who in range(len(sizes))]
        radii = tuple(
            (low[0] + d.below(low[1] - low[0]), high[0] + d.below(high[1] - high[0], at=16))
            for d in drawn
            for low, high in [RADII]
        )
        reach = [radii[who][SIZES.index(widest[who])] for who in range(len(sizes))]
        found = dict[int, Way]()
        for who in order:
            for turn in range(_TRIES):
                way = _way(script, who, dice.bits, turn, reach, radii, found)
                if way and _clear(script, who, way, reach, found):
                    found[who] = way
                    break
            else:
                break
        if len(found) == len(sizes):
            return Stage(tuple(found[who] for who in range(len(sizes))), radii)
    raise RuntimeError(f"No stage found for the script of seed {script.seed}.")


def _movers(script: Script) -> dict[int, str]:
    return {event.who: event.value for event in script.of_kind("move")}


def _way(
    script: Script,
    who: int,
    key: int,
    turn: int,
    reach: list[int],
    radii: tuple[tuple[int, int], ...],
    found: dict[int, Way],
) -> Way | None:
    """One try for an actor's way; None where it leaves the picture."""
    dice = Dice(key, "stage: place", who, turn)
    edge = reach[who] + EDGE
    x, y = (edge + dice.below(UNIT - 2 * edge, at) for at in (0, 16))
    to_x, to_y = x, y
    length = SHORTEST_WAY + dice.below(LONGEST_WAY - SHORTEST_WAY, at=32)
    for event in script.events:
        if event.who != who:
            continue
        if event.kind == "move":
            across, down = _STEP[event.value]
            to_x, to_y = x + across * length, y + down * length
        elif event.kind == "hit" and event.whom in found:
            target = found[event.whom]
            # Of two that hit, one comes along a row and the other along a column.
            first = next(e for e in script.events if e.kind == "hit" and e.whom == event.whom)
            along_row = Dice(key, "stage: place", event.whom).coin() ^ (first is event)
            size = _size_before(script, event.whom, event.time)
            # Distances between centres of what touches are 15/16 of the sum of the radii.
            touch = 15 * (reach[who] + radii[event.whom][SIZES.index(size)]) // 16
            centre = target.x if along_row else target.y
            sign = -1 if centre > UNIT // 2 else 1
            end, begin = centre + sign * touch, centre + sign * (touch + length)
            to_x, to_y = (end, target.y) if along_row else (target.x, end)
            x, y = (begin, target.y) if along_row else (target.x, begin)
    inside = all(edge <= place <= UNIT - edge for place in (x, y, to_x, to_y))
    return Way(x, y, to_x, to_y) if inside else None


def _size_before(script: Script, who: int, time: int) -> str:
    """The size of an actor just before a time."""
    past = [e.value for e in script.of_kind("size") if e.who == who and e.time < time]
    return past[-1] if past else script.actors[who].size or SIZES[0]


def _clear(script: Script, who: int, way: Way, reach: list[int], found: dict[int, Way]) -> bool:
    """Whether a way keeps apart from all that were found before, but for the one that it hits."""
    hit = {event.whom for event in script.of_kind("hit") if event.who == who}
    return all(
        other in hit or way.distance2(theirs) >= (reach[who] + reach[other] + GAP) ** 2
        for other, theirs in found.items()
    )
