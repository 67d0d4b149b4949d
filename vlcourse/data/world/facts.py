"""What can be true of a scene: objects, facts, and the check of a fact against the objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlcourse.data.world.arrays import MARGIN, UNIT
from vlcourse.data.world.words import COLOURS, SHAPES, SIZES, check_choice

NUMBERS = ("zero", "one", "two", "three", "four")
SPATIAL: tuple[str, ...] = ("above", "below", "left of", "right of")
RELATIONS: tuple[str, ...] = (*SPATIAL, "bigger than")
OPPOSITE: dict[str, str] = {
    "above": "below",
    "below": "above",
    "left of": "right of",
    "right of": "left of",
}
COMPARISONS: tuple[str, ...] = ("more", "fewer", "as many")
# Centres this far apart along an axis, as a part of the picture, stand in that axis's relation.
CLEARLY = MARGIN / UNIT
# Small and large radii differ by a factor of at least 1.44; the same size class by 1.13 at most.
BIGGER = 1.3


@dataclass(frozen=True)
class Object:
    """One object of a scene: what it is, and where, as parts of the picture's side, y downwards."""

    colour: str
    shape: str
    size: str
    x: float
    y: float
    radius: float

    def __post_init__(self) -> None:
        check_choice("colour", self.colour, COLOURS)
        check_choice("shape", self.shape, SHAPES)
        check_choice("size", self.size, SIZES)
        if not 0.02 <= self.radius <= min(self.x, self.y, 1 - self.x, 1 - self.y):
            raise ValueError(
                f"An object has radius 0.02 or more and lies inside [0, 1] x [0, 1]; got {self}."
            )


@dataclass(frozen=True)
class Thing:
    """A description of an object. A part that is None fits anything: `Thing("red")` is any red
    object, `Thing()` any object."""

    colour: str | None = None
    shape: str | None = None
    size: str | None = None

    def fits(self, obj: Object) -> bool:
        """Whether the description holds of `obj`."""
        return (
            self.colour in (None, obj.colour)
            and self.shape in (None, obj.shape)
            and self.size in (None, obj.size)
        )

    def noun(self, n: int = 1) -> str:
        """The words without an article, such as "small red circle"; plural unless n is 1."""
        noun = self.shape or "object"
        if n != 1:
            noun += "es" if noun == "cross" else "s"
        return " ".join(word for word in (self.size, self.colour, noun) if word)

    def __str__(self) -> str:
        noun = self.noun()
        return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


@dataclass(frozen=True)
class HasObject:
    """The scene has at least one such object."""

    thing: Thing

    def __str__(self) -> str:
        return f"there is {self.thing}"


@dataclass(frozen=True)
class Count:
    """The scene has exactly `n` such objects."""

    thing: Thing
    n: int

    def __str__(self) -> str:
        return f"number of {self.thing.noun(2)} is {self.n}"


@dataclass(frozen=True)
class Relation:
    """Some object that fits `a` stands in `relation` (one of `RELATIONS`) to another that fits `b`.

    The spatial relations compare centres, which must be 112/1024 of the picture apart along the
    axis. "bigger than" holds between a large and a small object.
    """

    a: Thing
    relation: str
    b: Thing

    def __post_init__(self) -> None:
        check_choice("relation", self.relation, RELATIONS)

    def __str__(self) -> str:
        return f"{self.a} is {self.relation} {self.b}"


@dataclass(frozen=True)
class Comparison:
    """There are "more", "fewer" or "as many" objects that fit `a` than (as) fit `b`."""

    a: Thing
    comparison: str
    b: Thing

    def __post_init__(self) -> None:
        check_choice("comparison", self.comparison, COMPARISONS)

    def __str__(self) -> str:
        link = "as" if self.comparison == "as many" else "than"
        return f"there are {self.comparison} {self.a.noun(2)} {link} {self.b.noun(2)}"


Fact = HasObject | Count | Relation | Comparison


def related(a: Object, relation: str, b: Object) -> bool:
    """Whether object `a` stands in `relation` to object `b`."""
    if relation == "above":
        return b.y - a.y >= CLEARLY
    if relation == "below":
        return a.y - b.y >= CLEARLY
    if relation == "left of":
        return b.x - a.x >= CLEARLY
    if relation == "right of":
        return a.x - b.x >= CLEARLY
    return a.radius >= BIGGER * b.radius


def count(objects: Iterable[Object], thing: Thing) -> int:
    """How many objects fit the description."""
    return sum(thing.fits(obj) for obj in objects)


def holds(fact: Fact, objects: Sequence[Object]) -> bool:
    """Whether `fact` is true of a scene with these objects."""
    if isinstance(fact, HasObject):
        return any(fact.thing.fits(obj) for obj in objects)
    if isinstance(fact, Count):
        return count(objects, fact.thing) == fact.n
    if isinstance(fact, Relation):
        return any(
            a is not b and related(a, fact.relation, b)
            for a in objects
            if fact.a.fits(a)
            for b in objects
            if fact.b.fits(b)
        )
    if isinstance(fact, Comparison):
        a, b = count(objects, fact.a), count(objects, fact.b)
        return {"more": a > b, "fewer": a < b, "as many": a == b}[fact.comparison]
    raise TypeError(f"Not a fact: {fact!r}. Facts are HasObject, Count, Relation and Comparison.")


def relations_between(a: Object, b: Object) -> list[str]:
    """Every relation in which `a` stands to `b`."""
    return [relation for relation in RELATIONS if related(a, relation, b)]
