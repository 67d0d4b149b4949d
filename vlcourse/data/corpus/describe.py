"""Complete descriptions of a scene in words: all there is to know, and nothing that is not said.

A picture shows everything; a text shows what it says. `describe` names every object with its size,
colour and shape, and states some relations, and it knows which, so that only questions which the
text answers are asked of a reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlcourse.data.world.captions import relation_words
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import (
    NUMBERS,
    OPPOSITE,
    Fact,
    Object,
    Relation,
    Thing,
    holds,
    relations_between,
)

_OPENINGS = ("there is {}.", "we can see {}.", "the picture shows {}.", "here is {}.", "{}.")
_COUNTED = ("there are {n}: {all}.", "{n} can be seen: {all}.", "a picture of {n}: {all}.")
_FIRST = ("one object is {}.", "first there is {}.")
_NEXT = ("another is {}.", "then there is {}.", "there is also {}.")


@dataclass(frozen=True)
class Description:
    """A text that describes a scene completely, but for the relations, of which it states some."""

    text: str
    relations: tuple[Relation, ...]

    def tells(self, fact: Fact, objects: Sequence[Object]) -> bool:
        """Whether a reader of the text can know if ``fact`` is true of the scene.

        What is there, how many of it and how large follows from the list of objects. Where things
        stand is known of the stated pairs, along the stated axis, and for what it excludes.
        """
        if not isinstance(fact, Relation) or fact.relation not in OPPOSITE:
            return True
        axis = {fact.relation, OPPOSITE[fact.relation]}
        pair = {_bare(fact.a), _bare(fact.b)}
        return any(
            stated.relation in axis and {_bare(stated.a), _bare(stated.b)} == pair
            for stated in self.relations
        )

    def implies(self, fact: Fact, objects: Sequence[Object]) -> bool:
        """Whether the text says, in some way, that ``fact`` is true."""
        return self.tells(fact, objects) and holds(fact, objects)


def describe(objects: Sequence[Object], key: int, relations: int | None = None) -> Description:
    """Tell a scene in one of several ways, chosen by ``key``.

    Args:
        objects: what is there.
        key: chooses the wording, the order and the relations that are stated.
        relations: how many pairs of objects are related in words; by default each object and the
            one that is named after it.
    """
    order = _shuffled(objects, Dice(key, "order"))
    listing = Dice(key, "listing")
    sizes_apart = listing.below(5) == 0
    things = [Thing(o.colour, o.shape, None if sizes_apart else o.size) for o in order]
    sentences = [_listing(things, listing)]
    if sizes_apart:
        sentences += [f"the {Thing(o.colour, o.shape).noun()} is {o.size}." for o in order]
    pairs = list(zip(order, order[1:], strict=False))
    stated = []
    for i, (a, b) in enumerate(pairs[: len(pairs) if relations is None else relations]):
        dice = Dice(key, "stated relation", i)
        if dice.coin():
            a, b = b, a
        choices = [r for r in relations_between(a, b) if r in OPPOSITE]
        if not choices:  # only in a scene made by hand, with objects on top of each other
            continue
        relation = dice.pick(choices, at=1)
        fact = Relation(Thing(a.colour, a.shape), relation, Thing(b.colour, b.shape))
        stated.append(fact)
        words = relation_words(relation, dice.bits >> 8)
        sentences.append(f"the {fact.a.noun()} is {words} the {fact.b.noun()}.")
    return Description(" ".join(sentences), tuple(stated))


def _listing(things: Sequence[Thing], dice: Dice) -> str:
    """The sentence, or sentences, that name every object."""
    way = dice.below(8, at=8)
    if len(things) == 1 or way < 4:
        return dice.pick(_OPENINGS, at=16).format(_all(things))
    if way < 6:
        return dice.pick(_COUNTED, at=16).format(
            n=f"{NUMBERS[len(things)]} {Thing().noun(len(things))}", all=_all(things)
        )
    first = dice.pick(_FIRST, at=16).format(things[0])
    pattern = dice.pick(_NEXT, at=24)
    return " ".join([first, *(pattern.format(thing) for thing in things[1:])])


def _all(things: Sequence[Thing]) -> str:
    *most, last = map(str, things)
    return f"{', '.join(most)} and {last}" if most else last


def _shuffled(objects: Sequence[Object], dice: Dice) -> list[Object]:
    left = list(objects)
    return [dice.take(left, at=8 * i) for i in range(len(objects))]


def _bare(thing: Thing) -> tuple[str | None, str | None]:
    return thing.colour, thing.shape
