"""The toy world's captions: a grammar whose every sentence carries the facts that it states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import (
    NUMBERS,
    OPPOSITE,
    Count,
    Fact,
    HasObject,
    Object,
    Relation,
    Thing,
    count,
    relations_between,
)
from vlcourse.data.world.words import class_index

# Prompts for zero-shot classification, to be filled with `class_prompt`.
TEMPLATES: tuple[str, ...] = (
    "{}",
    "there is {}",
    "this is {}",
    "here is {}",
    "a picture of {}",
    "an image of {}",
    "a picture with {} in it",
    "the picture shows {}",
    "we can see {}",
)


def class_prompt(colour: str, shape: str) -> str:
    """The name of a class as captions write it: "a red circle", "an orange star".

    Raises ValueError for an unknown colour or shape.
    """
    class_index(colour, shape)
    return str(Thing(colour, shape))


@dataclass(frozen=True)
class Pattern:
    """One way to say something. Slots: {a} and {b} the first two things, {all} all of them,
    {r} the relation, {N} "three objects", {t} a tally such as "two circles"."""

    kind: str
    text: str
    counts: bool = False  # states the number of objects, with or without the slot


def _patterns(kind: str, *texts: str, counting: tuple[str, ...] = ()) -> tuple[Pattern, ...]:
    return (*(Pattern(kind, t) for t in texts), *(Pattern(kind, t, True) for t in counting))


_ONE = _patterns(
    "object",
    *(template.replace("{}", "{a}") for template in TEMPLATES),
    "{a} on a dark background",
    counting=(
        "only {a} can be seen",
        "{a} and nothing else",
        "a single object, {a}",
        "the only object is {a}",
    ),
)
_PLACED = _patterns(
    "relation",
    "{a} {r} {b}",
    "there is {a} {r} {b}",
    "{a} is {r} {b}",
    "a picture of {a} {r} {b}",
    "an image of {a} {r} {b}",
    "the picture shows {a} {r} {b}",
    "we can see {a} {r} {b}",
    "{r} {b} there is {a}",
    "{r} {b} we can see {a}",
)
_BIGGER = _patterns(
    "size relation",
    "{a} is {r} {b}",
    "{a} that is {r} {b}",
    "there is {a} that is {r} {b}",
    "a picture of {a} that is {r} {b}",
)
_PLACED_TWO = (
    *_PLACED,
    *_patterns("relation", counting=("{N}, {a} {r} {b}", "of {N}, {a} is {r} {b}")),
)
_PLACED_MANY = (
    *_PLACED,
    *_patterns("relation", counting=("among {N}, {a} is {r} {b}", "{N}, with {a} {r} {b}")),
)
_LIST = _patterns(
    "list",
    "{all}",
    "there is {all}",
    "a picture of {all}",
    "an image of {all}",
    "the picture shows {all}",
    "we can see {all}",
    counting=("{N}, {all}", "a picture of {N}, {all}"),
)
_COUNT = _patterns(
    "count",
    "there are {t}",
    "a picture with {t} in it",
    "{t}, and one of the objects is {a}",
    counting=(
        "{N}, one of them {a}",
        "there are {N}, and one is {a}",
        "a picture of {N}, including {a}",
    ),
)
# What is said of 1, 2, and 3 or 4 objects. A repeated entry is said more often.
_CHOICES: dict[int, tuple[tuple[Pattern, ...], ...]] = {
    1: (_ONE,),
    2: (_PLACED_TWO, _PLACED_TWO, _PLACED_TWO, _BIGGER, _LIST),
    3: (_PLACED_MANY, _PLACED_MANY, _LIST, _LIST, _COUNT, _BIGGER),
}

GRAMMAR: tuple[Pattern, ...] = tuple(
    dict.fromkeys(p for groups in _CHOICES.values() for group in groups for p in group)
)

_SIZES_OF_ALL = 7 << 48  # the bits by which `_say` names every object's size

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "above": ("above", "higher than"),
    "below": ("below", "lower than"),
    "left of": ("to the left of", "left of", "on the left of"),
    "right of": ("to the right of", "right of", "on the right of"),
    "bigger than": ("bigger than", "larger than"),
}


@dataclass(frozen=True)
class Content:
    """What fills a pattern's slots. `wording` picks among the words for the relation."""

    things: tuple[Thing, ...]
    total: int
    relation: str | None = None
    wording: int = 0
    tally: Count | None = None


class Caption(str):
    """A sentence that knows what it states: a plain `str`, with tags.

    Attributes:
        facts: the facts that the sentence states; it is true where all of them are.
        kind: "object", "relation", "size relation", "list" or "count", or a foil's kind.
        pattern, content: how the sentence was made, from which `foils` makes false ones.
    """

    facts: tuple[Fact, ...] = ()
    kind: str = ""
    pattern: Pattern
    content: Content

    @property
    def text(self) -> str:
        """The sentence without its tags."""
        return str(self)


def compose(pattern: Pattern, content: Content, kind: str | None = None) -> Caption:
    """Fill a pattern's slots and collect the facts that the sentence states."""
    slots: dict[str, str] = {"N": _number(content.total, Thing())}
    stated: list[Fact] = []
    if "{all}" in pattern.text:
        *most, last = map(str, content.things)
        slots["all"] = f"{', '.join(most)} and {last}"
        stated += map(HasObject, content.things)
    for slot, thing in zip("ab", content.things, strict=False):
        slots[slot] = str(thing)
        if f"{{{slot}}}" in pattern.text:
            stated.append(HasObject(thing))
    if content.relation and "{r}" in pattern.text:
        slots["r"] = relation_words(content.relation, content.wording)
        stated.append(Relation(content.things[0], content.relation, content.things[1]))
    if content.tally and "{t}" in pattern.text:
        slots["t"] = _number(content.tally.n, content.tally.thing)
        stated.append(content.tally)
    if pattern.counts:
        stated.append(Count(Thing(), content.total))
    caption = Caption(pattern.text.format(**slots))
    caption.facts, caption.kind = tuple(stated), kind or pattern.kind
    caption.pattern, caption.content = pattern, content
    return caption


def relation_words(relation: str, wording: int = 0) -> str:
    """A relation in words; ``wording`` picks one of several ways."""
    words = RELATION_WORDS[relation]
    return words[wording % len(words)]


def _number(n: int, thing: Thing) -> str:
    return f"{NUMBERS[n]} {thing.noun(n)}"


def caption(objects: Sequence[Object], key: int) -> Caption:
    """One true caption of a scene, chosen by the integer `key`."""
    dice = Dice(key, "caption")
    choices = _CHOICES[min(len(objects), 3)]
    group = dice.pick(choices)
    return _say(objects, dice.pick(group, at=8), dice)


def captions(objects: Sequence[Object], key: int) -> list[Caption]:
    """True captions of a scene, one for each pattern of its grammar, all different."""
    groups = dict.fromkeys(_CHOICES[min(len(objects), 3)])
    said = [
        _say(objects, pattern, Dice(key, "caption of a pattern", i))
        for group in groups
        for i, pattern in enumerate(group)
    ]
    return list(dict.fromkeys(said))


def full_caption(objects: Sequence[Object], key: int) -> Caption:
    """A spatial caption of two objects that gives both their colours, shapes and sizes."""
    dice = Dice(key, "full caption")
    pattern = dice.pick(_PLACED_TWO)
    dice.bits |= _SIZES_OF_ALL
    return _say(objects, pattern, dice)


def _say(objects: Sequence[Object], pattern: Pattern, dice: Dice) -> Caption:
    """Fill `pattern` with what is true; `dice`, from bit 16 on, decides order, detail and words."""
    first = dice.below(len(objects), at=16)
    rest = [*objects[first + 1 :], *objects[:first]]
    if dice.coin(at=20):
        rest.reverse()
    order = [objects[first], *rest]
    relation = None
    if pattern.kind == "relation":
        spatial = [r for r in relations_between(*order[:2]) if r in OPPOSITE]
        if not spatial:  # only in a scene made by hand, with objects on top of each other
            return _say(objects, dice.pick(_LIST, at=24), dice)
        relation = dice.pick(spatial, at=21)
    elif pattern.kind == "size relation":
        order.sort(key=lambda obj: obj.radius, reverse=True)
        order = [order[0], order[-1]]
        if "bigger than" not in relations_between(*order):  # all of one size: say what can be said
            return _say(objects, dice.pick(_PLACED, at=24), dice)
        relation = "bigger than"
    # Sizes are named for no object, each object on its own coin, or every object.
    detail, coins = dice.below(8, at=48), dice.below(16, at=51)
    sized = 15 if detail >= 4 else coins if detail >= 2 else 0
    if pattern.kind == "size relation":
        sized = 0  # the sentence already tells which is the larger
    things = tuple(
        Thing(obj.colour, obj.shape, obj.size if sized >> i & 1 else None)
        for i, obj in enumerate(order)
    )
    tally = _tally(objects, dice) if "{t}" in pattern.text else None
    return compose(pattern, Content(things, len(objects), relation, dice.bits >> 28, tally))


def _tally(objects: Sequence[Object], dice: Dice) -> Count:
    """How many of a shape, colour or size there are: of one that repeats, if one does."""
    things = [Thing(shape=obj.shape) for obj in objects]
    things += [Thing(colour=obj.colour) for obj in objects]
    things += [Thing(size=obj.size) for obj in objects]
    tallies = [Count(thing, count(objects, thing)) for thing in dict.fromkeys(things)]
    tallies = [tally for tally in tallies if tally.n > 1]
    return dice.pick(tallies, at=40) if tallies else Count(Thing(), len(objects))
