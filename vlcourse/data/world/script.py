"""What happens in a film of the toy world: who is there, what happens when, and why; not yet where.

A text about a film needs no more than this. :mod:`vlcourse.data.world.timeline` adds the places.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import Thing
from vlcourse.data.world.words import (
    COLOURS,
    HELD_OUT,
    SHAPES,
    SIZES,
    allowed_pairs,
    check_choice,
    check_seed,
    hash_int,
    in_bucket,
)
from vlcourse.layers.ranges import RangeError

EVENTS: tuple[str, ...] = ("come", "leave", "move", "colour", "size", "hit")
DIRECTIONS: tuple[str, ...] = ("left", "right", "up", "down")
NAMES: tuple[str, ...] = tuple(
    "tom anna ben mia leo zoe alma lily noel beth seth dan amy fay ted ned pia lena lois stan yan "
    "lou wes mark ole".split()
)
"""With six names llm-time learned to guess one (13 % right), with these to look it up (100 %). Each
is two or three tokens of the toy language models, and no two begin alike."""
FILM_SPLITS: tuple[str, ...] = ("train", "val", "test", "heldout")
SHORTEST, LONGEST = 2, 10  # seconds
ACTORS = 4
MOST_LARGE = 2  # more of them leave no room to move
COUNTED: tuple[str, ...] = ("come", "leave", "move", "colour")
"""What a film without hits is about: one of these happens one to three times."""

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """One thing that happens, at a whole second.

    A "move" takes the second after ``time``. Before a "hit" the actor moves for a second; ``time``
    is the moment when it touches the other.
    """

    kind: str
    """One of `EVENTS`."""
    time: int
    """Seconds from the beginning, at least 1."""
    who: int
    """Index of the actor."""
    value: str = ""
    """The direction of a move, the new colour or the new size."""
    whom: int | None = None
    """Index of the actor that is hit."""
    cause: int | None = None
    """Index of the event that brought this one about; None: it happened by itself."""

    @property
    def span(self) -> tuple[int, int]:
        """When it begins and ends, in seconds."""
        if self.kind == "move":
            return self.time, self.time + 1
        return (self.time - 1, self.time) if self.kind == "hit" else (self.time, self.time)


@dataclass(frozen=True)
class Line:
    """What is said in a film, from ``begin`` to ``end`` seconds: which name an actor has."""

    begin: float
    end: float
    text: str
    who: int
    name: str


@dataclass(frozen=True)
class Script:
    """Who is in a film, and what happens.

    Attributes:
        duration: seconds.
        actors: colour, shape and size of each at first; all of different shape.
        events: in order of time, a hit before what it causes.
        lines: what is said, in order of time.
        seed: what the film's ground and words are drawn from.
        split: where it was sampled from.
        about: the one of `COUNTED` that happens one to three times, or "".
    """

    duration: int
    actors: tuple[Thing, ...]
    events: tuple[Event, ...]
    lines: tuple[Line, ...] = ()
    seed: int = 0
    split: str = "train"
    about: str = ""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_choice("split", self.split, FILM_SPLITS)
        shapes = [actor.shape for actor in self.actors]
        if not 1 <= len(shapes) <= ACTORS or len(set(shapes)) < len(shapes):
            raise ValueError(f"A film has 1 to {ACTORS} actors, all of different shape: {shapes}.")
        if not SHORTEST <= self.duration <= LONGEST:
            raise ValueError(
                f"A film lasts {SHORTEST} to {LONGEST} seconds; got {self.duration} s."
            )
        if list(self.events) != sorted(self.events, key=lambda event: event.time):
            raise ValueError("Events stand in the order of their times; sort them by time.")
        for i, event in enumerate(self.events):
            check_choice("event", event.kind, EVENTS)
            others = [j for j in (event.who, event.whom) if j is not None]
            if not 1 <= event.time < self.duration or not set(others) <= set(range(len(shapes))):
                raise ValueError(f"Out of the film, or by nobody in it: {event}.")
            if event.cause is not None and not 0 <= event.cause < i:
                raise ValueError(f"A cause is an earlier event of the film; got {event}.")

    @classmethod
    def sample(
        cls, seed: int, split: str = "train", seconds: tuple[int, int] = (6, LONGEST)
    ) -> Script:
        """The script of a seed; the same one on every machine.

        In half of the films of 5 seconds and more two actors hit a third, which changes when one
        of them hits it. In the others one kind of `COUNTED` happens one to three times. All times
        are equally likely for all else, and so are all directions, names and orders, so that a
        question about them cannot be answered without the film.

        Args:
            seed: an integer in [0, 2**64).
            split: "train", "val", "test" or "heldout". In the last, one actor has a colour and
                shape that never come together elsewhere; its colour stays, and it does something.
            seconds: least and greatest duration, within 2 to 10.

        Raises:
            ValueError: an argument is out of range or unknown.
        """
        check_choice("split", split, FILM_SPLITS)
        low, high = check_seconds(seconds)
        for attempt in range(10_000):
            dice = Dice(check_seed(seed), "script", attempt)
            duration = low + dice.below(high - low + 1)
            caused = duration >= 5 and dice.coin(at=8)
            about = "" if caused else dice.pick(COUNTED, at=16)
            plan = partial(_counted, kind=about) if about else _caused
            happening = plan(duration, dice.bits)
            actors, events = _cast(happening, min(ACTORS, duration), split, dice.bits)
            if actors and in_bucket(_signature(duration, actors, events), split):
                script = cls(duration, actors, events, (), seed, split, about)
                return replace(script, lines=_said(script))
        raise RuntimeError(f"No script found for seed {seed} in split {split!r}.")

    def thing(self, who: int) -> Thing:
        """How an actor is called: by colour and shape, or by its shape if its colour changes."""
        actor = self.actors[who]
        changes = any(event.kind == "colour" and event.who == who for event in self.events)
        return Thing(None if changes else actor.colour, actor.shape)

    def of_kind(self, kind: str) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.events if event.kind == kind]

    def present(self, who: int, time: float) -> bool:
        """Whether an actor is there at a time."""
        entries = [e for e in self.events if e.who == who and e.kind in ("come", "leave")]
        past = [e for e in entries if e.time <= time]
        if past:
            return past[-1].kind == "come"
        return not entries or entries[0].kind == "leave"


def check_seconds(seconds: tuple[int, int]) -> tuple[int, int]:
    """The least and greatest duration of a film, if they can be; else RangeError."""
    low, high = seconds
    if not SHORTEST <= low <= high <= LONGEST:
        raise RangeError(
            f"seconds must satisfy {SHORTEST} <= least <= greatest <= {LONGEST}; got {seconds}."
        )
    return low, high


def shuffled(
    items: Sequence[T], seed: int, purpose: str, turn: int = 0, n: int | None = None
) -> list[T]:
    """``n`` of the items in random order, at most nine; all of them if ``n`` is None."""
    left, dice = list(items), Dice(seed, purpose, turn)
    return [dice.take(left, at=7 * i) for i in range(len(items) if n is None else n)]


def halves(duration: int) -> tuple[list[int], list[int]]:
    """The whole seconds before the middle of a film, and those after it."""
    return list(range(1, (duration + 1) // 2)), list(range(duration // 2 + 1, duration))


def _caused(duration: int, key: int) -> list[Event]:
    """Actors 1 and 2 hit actor 0, which changes at one of the hits; actor 3 does something else.

    Both hits are in the same half, so that a single frame from the middle does not tell which of
    the two it was.
    """
    dice = Dice(key, "script: happening")
    times = shuffled(halves(duration)[dice.below(2)], key, "script: times")[:2]
    hits = [Event("hit", time, i + 1, whom=0) for i, time in enumerate(times)]
    change = Event(dice.pick(("colour", "size"), at=8), times[dice.below(2, at=16)], 0, cause=0)
    free = shuffled([t for t in range(1, duration) if t not in times], key, "script: times", 1)
    does = [dice.pick(EVENTS[:5], at=24)]
    if does[0] in EVENTS[2:5] and dice.coin(at=32):
        does.append(dice.pick([kind for kind in EVENTS[2:5] if kind != does[0]], at=40))
    extra = [Event(kind, time, 3) for kind, time in zip(does, free, strict=False)]
    return [*hits, change, *extra]


def _counted(duration: int, key: int, kind: str) -> list[Event]:
    """One kind of event one to three times; the other actors do something else, or nothing."""
    dice, n = Dice(key, "script: happening"), min(ACTORS, duration)
    times = shuffled(range(1, duration), key, "script: times")
    often = 1 + dice.below(min(3, n - 1, len(times)), at=8)
    does = [kind] * often
    for who in range(often, n):
        last = who == n - 1  # it stays, so that a film always shows something
        kinds = [k for k in EVENTS[2 if last else 0 : 5] if k != kind]
        nothing = last and dice.coin(at=16)
        does.append("" if nothing else dice.pick(kinds, at=24 + 8 * (who - often)))
    return [
        Event(k, time, who) for (who, k), time in zip(enumerate(does), times, strict=False) if k
    ]


def _cast(
    happening: Sequence[Event], n: int, split: str, key: int
) -> tuple[tuple[Thing, ...], tuple[Event, ...]]:
    """Actors for the events, and the events with what is new; no actors where there is no way."""
    events = sorted(happening, key=lambda event: (event.time, event.kind != "hit"))
    does: list[set[str]] = [{e.kind for e in events if e.who == who} for who in range(n)]
    shapes = shuffled(SHAPES, key, "script: shapes")[:n]
    unseen = -1
    if split == "heldout":
        able = [who for who in range(n) if does[who] and "colour" not in does[who]]
        if not able:
            return (), ()
        unseen = Dice(key, "script: happening").pick(able, at=56)
    free = list(COLOURS)

    def colour(who: int, turn: int, pairs: tuple[tuple[str, str], ...]) -> str:
        fitting = [c for c in COLOURS if (c, shapes[who]) in pairs]
        unused = [c for c in fitting if c in free]
        found = Dice(key, "script: colour", who, turn).pick(unused or fitting)
        if found in free:
            free.remove(found)
        return found

    pairs = allowed_pairs(split)
    order = sorted(range(n), key=lambda who: who != unseen)  # the rare pair is drawn first
    first = {who: colour(who, 0, HELD_OUT if who == unseen else pairs) for who in order}
    hit = any(event.kind == "hit" for event in events)
    sizes, large = dict[int, str](), 0
    for who in shuffled(range(n), key, "script: size"):
        size = Dice(key, "script: size", who).pick(SIZES)
        if hit and who == 0 and "size" in does[0]:
            size = "large"  # it can only shrink: what touches it leaves no room
        grows = "size" in does[who]
        if {"move", "hit"} & does[who] and not grows or large == MOST_LARGE and not grows:
            size = "small"
        large += grows or size == "large"
        sizes[who] = size
    if large > MOST_LARGE or any({"move", "size"} <= kinds for kinds in does):
        return (), ()
    made, hits = list[Event](), dict[int, int]()
    for event in events:
        value = {
            "move": Dice(key, "script: happening", event.who).pick(DIRECTIONS),
            "size": SIZES[sizes[event.who] == "small"],
        }.get(event.kind, "")
        if event.kind == "colour":
            value = colour(event.who, 1, tuple(p for p in pairs if p[0] != first[event.who]))
        if event.kind == "hit":
            hits[event.time] = len(made)
        cause = None if event.cause is None else hits[event.time]
        made.append(Event(event.kind, event.time, event.who, value, event.whom, cause))
    return tuple(Thing(first[i], shapes[i], sizes[i]) for i in range(n)), tuple(made)


def _said(script: Script) -> tuple[Line, ...]:
    """The names of two actors, each said at its own time."""
    begins = shuffled(range(script.duration - 1), script.seed, "script: said")[:2]
    who = shuffled(range(len(script.actors)), script.seed, "script: said", 1)
    dice = Dice(script.seed, "script: said", 2)
    names = list(NAMES)
    lines = []
    for i, begin in enumerate(sorted(begins)):
        name = dice.take(names, at=8 * i)
        text = f"the {script.thing(who[i]).noun()} is called {name}."
        lines.append(Line(begin, begin + 1, text, who[i], name))
    return tuple(lines)


def _signature(duration: int, actors: Sequence[Thing], events: Sequence[Event]) -> int:
    """Equal for films in which the same things happen at the same times."""
    told = f"{duration} {sorted(map(str, actors))} " + " ".join(
        f"{e.kind} {e.time} {actors[e.who]} {e.value}" for e in events
    )
    return hash_int(zlib.crc32(told.encode()))
