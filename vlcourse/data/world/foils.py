"""Foils: captions with one change that makes them false of their scene.

They test whether a model binds words to things, after Winoground (Thrush et al., CVPR 2022) and
ARO (Yuksekgonul et al., ICLR 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from vlcourse.data.world.captions import Caption, Content, compose
from vlcourse.data.world.facts import OPPOSITE, Count, Object, Thing, holds
from vlcourse.data.world.words import COLOURS, SHAPES, SIZES

# Swapped relation: left for right, or the two objects of "bigger than". Swapped attribute: two
# objects exchange colours, or shapes. Replaced attribute: another colour, shape or size.
FOILS: tuple[str, ...] = ("swapped relation", "swapped attribute", "replaced attribute", "count")


def foil(
    said: Caption,
    objects: Sequence[Object],
    pairs: tuple[tuple[str, str], ...],
    kind: str,
    turn: int = 0,
) -> Caption | None:
    """A caption with one change that makes it false of the scene, or None if there is none.

    Args:
        said: a caption of the scene.
        objects: the scene's objects.
        pairs: the (colour, shape) pairs that a foil may name.
        kind: one of `FOILS`.
        turn: the possible changes are tried in a circle, from this one on.
    """
    contents, allowed = _contents(said, kind), frozenset(pairs)
    start = turn % max(len(contents), 1)
    for content in contents[start:] + contents[:start]:
        named = {(thing.colour, thing.shape) for thing in content.things}
        if len(named) == len(content.things) and named <= allowed:
            made = compose(said.pattern, content, kind)
            if not all(holds(fact, objects) for fact in made.facts):
                return made
    return None


def _contents(said: Caption, kind: str) -> list[Content]:
    """Changed contents of a caption, not yet checked against the scene."""
    content, text = said.content, said.pattern.text
    things = content.things
    named = len(things) if "{all}" in text else ("{a}" in text) + ("{b}" in text)

    def change(changes: dict[int, Thing]) -> Content:
        changed = tuple(changes.get(i, thing) for i, thing in enumerate(things))
        return replace(content, things=changed)

    out: list[Content] = []
    if kind == "swapped relation":
        if content.relation in OPPOSITE:
            out.append(replace(content, relation=OPPOSITE[content.relation]))
        elif content.relation:
            out.append(change({0: things[1], 1: things[0]}))
    elif kind == "swapped attribute":
        for j, i in combinations(range(named), 2):
            a, b = things[i], things[j]
            colours = {i: replace(a, colour=b.colour), j: replace(b, colour=a.colour)}
            shapes = {i: replace(a, shape=b.shape), j: replace(b, shape=a.shape)}
            out += [change(colours), change(shapes)]
    elif kind == "replaced attribute":
        for i, thing in enumerate(things[:named]):
            new = [replace(thing, colour=c) for c in COLOURS]
            new += [replace(thing, shape=s) for s in SHAPES]
            new += [replace(thing, size=s) for s in SIZES if thing.size]
            out += [change({i: other}) for other in new if other != thing]
    else:
        if "{N}" in text:
            totals = (content.total - 1, content.total + 1)
            out += [replace(content, total=n) for n in totals if named <= n <= 4]
        if content.tally:
            thing, n = content.tally.thing, content.tally.n
            out += [replace(content, tally=Count(thing, m)) for m in (n - 1, n + 1) if 1 < m < 5]
    return out
