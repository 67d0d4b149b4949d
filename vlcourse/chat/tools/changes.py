"""What happens between frames: things are followed from one to the next, and what became different
of them is put into the words of the toy world's films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import hypot

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from vlcourse.chat.tools.things import NAMES, Seen
from vlcourse.data.world.facts import Thing
from vlcourse.data.world.video_captions import VERBS
from vlcourse.data.world.words import SHAPES

MOVED = 0.05  # of the picture's side: less is no movement
TOUCH = 0.04  # between the circles around things of which one has hit the other
SAME = 0.5  # a greater cost and it is another thing
OF_SHAPE = torch.tensor([[float(name.shape == shape) for shape in SHAPES] for name in NAMES])
"""(96, 6) which of the names has which shape."""


@dataclass(frozen=True)
class Change:
    """Something that happened: ``kind`` is one of :data:`VERBS`."""

    begin: float
    end: float
    kind: str
    who: int
    value: str = ""
    whom: int | None = None

    @property
    def time(self) -> float:
        """When it is said to be: a movement when it begins, anything else when it is done."""
        return self.begin if self.kind == "move" else self.end


class Track:
    """One thing through the frames: where and what it was at each of the times.

    What it is said to be is worked out once, when all its frames are known.
    """

    def __init__(self) -> None:
        self.at: dict[int, Seen] = {}
        """Frame → how it was seen."""

    @cached_property
    def shape(self) -> str:
        """What most of its frames say: a thing keeps its shape."""
        scores = torch.stack([seen.scores for seen in self.at.values()])  # (T, 96)
        return SHAPES[int((scores.softmax(dim=1).sum(dim=0) @ OF_SHAPE).argmax())]

    @cached_property
    def looks(self) -> dict[int, Thing]:
        """Frame → colour, shape and size."""
        other = OF_SHAPE[:, SHAPES.index(self.shape)] == 0  # (96,) names of another shape
        return {
            frame: NAMES[int(seen.scores.masked_fill(other, -torch.inf).argmax())]
            for frame, seen in self.at.items()
        }

    def called(self) -> Thing:
        """By colour and shape; by shape alone where its colour changes, as films call it."""
        colours = {look.colour for look in self.looks.values()}
        return Thing(colours.pop() if len(colours) == 1 else None, self.shape)


def followed(frames: Sequence[Sequence[Seen]]) -> list[Track]:
    """The things of all frames, each through the frames in which it is seen.

    From frame to frame, those belong together that cost least in all: by how far they are apart,
    and whether shape, colour and size are the same.
    """
    tracks: list[Track] = []
    open_: list[Track] = []
    for number, seen in enumerate(frames):
        before = [track.at[number - 1] for track in open_]
        cost = np.array([_cost(a, b) for a in before for b in seen])
        cost = cost.reshape(len(before), len(seen))
        goes_on: dict[int, Track] = {}
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if cost[i, j] < SAME:
                goes_on[int(j)] = open_[i]
        open_ = []
        for j, thing in enumerate(seen):
            if j not in goes_on:
                goes_on[j] = Track()
                tracks.append(goes_on[j])
            goes_on[j].at[number] = thing
            open_.append(goes_on[j])
    return tracks


def _cost(a: Seen, b: Seen) -> float:
    one, other = a.name, b.name
    apart = hypot(a.place[0] - b.place[0], a.place[1] - b.place[1])
    differs = (one.shape != other.shape, one.colour != other.colour, one.size != other.size)
    return apart + float(np.dot(differs, (0.4, 0.2, 0.1)))


def changes(
    tracks: Sequence[Track], times: Sequence[float], shape: tuple[int, int]
) -> list[Change]:
    """What happened, in the order of time; a hit before what it brings about.

    Args:
        tracks: of :func:`followed`.
        times: of the frames, in seconds.
        shape: height and width of the frames.
    """
    found: list[Change] = []
    for who, track in enumerate(tracks):
        frames = sorted(track.at)
        if frames[0] > 0:
            found.append(Change(times[frames[0]], times[frames[0]], "come", who))
        for a, b in pairwise(frames):
            found += _between(who, tracks, a, b, times, shape)
        if frames[-1] + 1 < len(times):
            at = times[frames[-1] + 1]
            found.append(Change(at, at, "leave", who))
    order = ("come", "hit", "move", "colour", "size", "leave")
    return sorted(_joined(found), key=lambda change: (change.time, order.index(change.kind)))


def _between(
    who: int,
    tracks: Sequence[Track],
    a: int,
    b: int,
    times: Sequence[float],
    shape: tuple[int, int],
) -> list[Change]:
    track, found = tracks[who], []
    before, after = track.looks[a], track.looks[b]
    (x, y), (u, v) = track.at[a].place, track.at[b].place
    across, along = u - x, v - y
    if max(abs(across), abs(along)) > MOVED:
        hit = [
            other
            for other, another in enumerate(tracks)
            if other != who and a in another.at and b in another.at and _stays(another, a, b)
            # The other may become smaller by the hit: as it was before counts, too.
            if min(_gap(track.at[b], another.at[c], shape) for c in (a, b)) < TOUCH
        ]
        if hit:
            found.append(Change(times[a], times[b], "hit", who, whom=hit[0]))
        else:
            sideways = abs(across) > abs(along)
            way = ("left", "right")[across > 0] if sideways else ("up", "down")[along > 0]
            found.append(Change(times[a], times[b], "move", who, way))
    if before.colour != after.colour:
        found.append(Change(times[a], times[b], "colour", who, str(after.colour)))
    if before.size != after.size:
        found.append(Change(times[a], times[b], "size", who, str(after.size)))
    return found


def _stays(track: Track, a: int, b: int) -> bool:
    one, other = track.at[a].place, track.at[b].place
    return max(abs(p - q) for p, q in zip(one, other, strict=True)) <= MOVED


def _gap(a: Seen, b: Seen, shape: tuple[int, int]) -> float:
    """Between the circles around two things, as a part of the picture's longer side."""
    sides = [max(s.box[2] - s.box[0], s.box[3] - s.box[1]) for s in (a, b)]
    apart = hypot(
        (a.place[0] - b.place[0]) * shape[1], (a.place[1] - b.place[1]) * shape[0]
    )  # in pixels
    return (apart - sum(sides) / 2) / max(shape)


def _joined(found: Sequence[Change]) -> list[Change]:
    """Steps in one direction, one after the other, are one movement; or a hit, if it ends so."""
    kept: list[Change] = []
    for change in found:
        last = kept[-1] if kept else None
        if last is not None and (last.who, last.kind, last.end) == (
            change.who,
            "move",
            change.begin,
        ):
            if change.kind == "hit" or (change.kind, change.value) == ("move", last.value):
                kept[-1] = replace(change, begin=last.begin)
                continue
        kept.append(change)
    return kept


def clause(change: Change, tracks: Sequence[Track]) -> str:
    """A change in the words of the toy world's films: "the red ring went left"."""
    track = tracks[change.who]
    subject = f"the {track.called().noun()}"
    if change.kind == "come":
        subject = str(track.looks[min(track.at)])
    words = f"{subject} {VERBS[change.kind].format(value=change.value)}"
    return words if change.whom is None else f"{words} the {tracks[change.whom].called().noun()}"
