"""Lecture 00: a first exercise without tensors. When is a caption true of a scene?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlcourse.data.world.facts import CLEARLY, Object, Relation, Thing, holds, related
from vlcourse.teach.checking import Exercise, NotAttempted, Right, Wrong, call, expect_equal, fail

Objects = Sequence[Object]
Answer = Callable[[Relation, Objects], bool]


def _object(colour: str, shape: str, x: float, y: float) -> Object:
    return Object(colour, shape, "small", x, y, 0.08)


_CIRCLE, _SQUARE, _STAR = (
    _object("red", "circle", 0.2, 0.3),
    _object("blue", "square", 0.7, 0.8),
    _object("green", "star", 0.5, 0.5),
)
_SCENE = (_CIRCLE, _SQUARE, _STAR)
_RED_CIRCLE, _BLUE_SQUARE = Thing("red", "circle"), Thing("blue", "square")
_ONE_PAIR = "One fitting pair of objects is enough: do not stop at the first, do not ask for all."

_AFTER_THE_LOOPS = "Say `return False` after the loops: no pair fitted."

_CASES: tuple[tuple[str, Relation, Objects, bool, str], ...] = (
    (
        "a true caption",
        Relation(_RED_CIRCLE, "left of", _BLUE_SQUARE),
        _SCENE,
        True,
        "x grows to the right: left of means a smaller x.",
    ),
    (
        "a caption with the two objects swapped",
        Relation(_BLUE_SQUARE, "left of", _RED_CIRCLE),
        _SCENE,
        False,
        "The order matters: it is object a that must be left of object b.",
    ),
    (
        "a caption about an object that is not there",
        Relation(Thing("yellow", "ring"), "left of", _BLUE_SQUARE),
        _SCENE,
        False,
        "Look for both objects in the scene; a missing one makes the caption false.",
    ),
    (
        "a caption with 'above'",
        Relation(_RED_CIRCLE, "above", _BLUE_SQUARE),
        _SCENE,
        True,
        "In a picture y grows downwards: above means a smaller y.",
    ),
    (
        "a caption that gives one object's colour to another's shape",
        Relation(Thing("red", "square"), "left of", Thing("blue", "circle")),
        _SCENE,
        False,
        "Colour and shape must belong to the same object: `fact.a.fits(obj)` compares both.",
    ),
    (
        "a caption that fits the second red object but not the first",
        Relation(Thing("red"), "right of", _BLUE_SQUARE),
        (*_SCENE, _object("red", "star", 0.9, 0.1)),
        True,
        _ONE_PAIR,
    ),
    (
        "a caption that fits the first red object but not the second",
        Relation(Thing("red"), "left of", _BLUE_SQUARE),
        (*_SCENE, _object("red", "star", 0.9, 0.1)),
        True,
        _ONE_PAIR,
    ),
    (
        "a caption about two objects one below the other",
        Relation(_RED_CIRCLE, "left of", _BLUE_SQUARE),
        (_CIRCLE, _object("blue", "square", 0.25, 0.8)),
        False,
        "A difference that no one would see does not count: ask for CLEARLY or more.",
    ),
    (
        "a caption about two objects whose places differ by exactly CLEARLY",
        Relation(_RED_CIRCLE, "left of", _BLUE_SQUARE),
        (_object("red", "circle", 0.25, 0.5), _object("blue", "square", 0.25 + CLEARLY, 0.5)),
        True,
        "Exactly CLEARLY is enough: >=, not >.",
    ),
    (
        "a caption about two objects in one row",
        Relation(_RED_CIRCLE, "above", _BLUE_SQUARE),
        (_object("red", "circle", 0.2, 0.5), _object("blue", "square", 0.8, 0.5)),
        False,
        "“above” compares y, “left of” and “right of” compare x.",
    ),
    (
        "a caption with 'right of'",
        Relation(_BLUE_SQUARE, "right of", _RED_CIRCLE),
        _SCENE,
        True,
        "“right of” is “left of” with the two objects exchanged: a has the larger x.",
    ),
    (
        "a caption about an empty picture",
        Relation(_RED_CIRCLE, "above", _BLUE_SQUARE),
        (),
        False,
        "Without objects there is no pair: return False after the loops.",
    ),
)


def _check(answer: Answer) -> None:
    for number, (what, fact, scene, truth, hint) in enumerate(_CASES):
        objects = list(scene)
        try:
            said = call(answer, fact, objects)
        except NotAttempted:
            if not number:
                raise
            fail(f"for {what} (“{fact}”) your function returns nothing", _AFTER_THE_LOOPS)
        expect_equal(said, truth, f"the answer to {what} (“{fact}”)", hint)


def _bag_of_words(fact: Relation, objects: Objects) -> bool:
    words = {word for obj in objects for word in (obj.colour, obj.shape)}
    return {fact.a.colour, fact.a.shape, fact.b.colour, fact.b.shape} <= words | {None}


def _y_upwards(fact: Relation, objects: Objects) -> bool:
    flipped = [_object(o.colour, o.shape, o.x, 1 - o.y) for o in objects]
    return holds(fact, flipped)


def _unbound(fact: Relation, objects: Objects) -> bool:
    return holds(Relation(Thing(fact.a.colour), fact.relation, Thing(fact.b.colour)), objects)


def _only_the_first(fact: Relation, objects: Objects) -> bool:
    a = next((obj for obj in objects if fact.a.fits(obj)), None)
    b = next((obj for obj in objects if fact.b.fits(obj)), None)
    return a is not None and b is not None and related(a, fact.relation, b)


def _gap(a: Object, relation: str, b: Object) -> float:
    """How far ``a`` stands in ``relation`` from ``b``, as a part of the picture's side."""
    return {"left of": b.x - a.x, "right of": a.x - b.x, "above": b.y - a.y}[relation]


def _pairs(fact: Relation, objects: Objects) -> list[tuple[Object, Object]]:
    return [(a, b) for a in objects if fact.a.fits(a) for b in objects if fact.b.fits(b)]


def _all_of_them(fact: Relation, objects: Objects) -> bool:
    pairs = _pairs(fact, objects)
    return bool(pairs) and all(related(a, fact.relation, b) for a, b in pairs)


def _any_difference(fact: Relation, objects: Objects) -> bool:
    return any(_gap(a, fact.relation, b) > 0 for a, b in _pairs(fact, objects))


def _more_than(fact: Relation, objects: Objects) -> bool:
    return any(_gap(a, fact.relation, b) > CLEARLY for a, b in _pairs(fact, objects))


def _absolute(fact: Relation, objects: Objects) -> bool:
    return any(abs(_gap(a, fact.relation, b)) >= CLEARLY for a, b in _pairs(fact, objects))


def _always_x(fact: Relation, objects: Objects) -> bool:
    return any(
        (a.x - b.x if fact.relation == "right of" else b.x - a.x) >= CLEARLY
        for a, b in _pairs(fact, objects)
    )


def _right_is_left(fact: Relation, objects: Objects) -> bool:
    return any(
        (b.y - a.y if fact.relation == "above" else b.x - a.x) >= CLEARLY
        for a, b in _pairs(fact, objects)
    )


def _the_pairs(fact: Relation, objects: Objects) -> list[tuple[Object, Object]]:
    return [(a, b) for a, b in _pairs(fact, objects) if _gap(a, fact.relation, b) >= CLEARLY]


def _nothing_at_the_end(fact: Relation, objects: Objects) -> bool | None:
    for a in objects:
        for b in objects:
            if fact.a.fits(a) and fact.b.fits(b) and related(a, fact.relation, b):
                return True
    return None


def _by_loops(fact: Relation, objects: Objects) -> bool:
    for a in objects:
        for b in objects:
            if fact.a.fits(a) and fact.b.fits(b) and _gap(a, fact.relation, b) >= CLEARLY:
                return True
    return False


def _by_flag(fact: Relation, objects: Objects) -> bool:
    found = False
    for a, b in _pairs(fact, objects):
        if fact.relation == "left of":
            found |= b.x - a.x >= CLEARLY
        elif fact.relation == "right of":
            found |= a.x - b.x >= CLEARLY
        else:
            found |= b.y - a.y >= CLEARLY
    return found


def _by_extremes(fact: Relation, objects: Objects) -> bool:
    a, b = ([o for o in objects if thing.fits(o)] for thing in (fact.a, fact.b))
    if not a or not b:
        return False
    if fact.relation == "left of":
        return max(o.x for o in b) - min(o.x for o in a) >= CLEARLY
    if fact.relation == "right of":
        return max(o.x for o in a) - min(o.x for o in b) >= CLEARLY
    return max(o.y for o in b) - min(o.y for o in a) >= CLEARLY


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="world.is_true",
        title="When is a caption true?",
        minutes=10,
        difficulty=1,
        reference=holds,
        check=_check,
        hints=(
            "The caption asks for two objects, each with its own look, and for one comparison of"
            " their places.",
            "Two loops over the objects, one for a and one for b; return True at the first pair"
            " that fits, and False after the loops.",
            "`if fact.a.fits(a) and fact.b.fits(b):` then, for “left of”,"
            f" `b.x - a.x >= CLEARLY` (CLEARLY is {CLEARLY:.3f} of the picture's side).",
        ),
        wrong=(
            Wrong("a bag of words", _bag_of_words, "The order matters"),
            Wrong("y grows upwards", _y_upwards, "y grows downwards"),
            Wrong("colours without their shapes", _unbound, "belong to the same object"),
            Wrong("stops at the first object", _only_the_first, "One fitting pair"),
            Wrong("asks for all objects", _all_of_them, "One fitting pair"),
            Wrong("any difference counts", _any_difference, "no one would see"),
            Wrong("more than CLEARLY", _more_than, "Exactly CLEARLY is enough"),
            Wrong("the absolute difference", _absolute, "The order matters"),
            Wrong("x for every relation", _always_x, "compares y"),
            Wrong("right of as left of", _right_is_left, "a has the larger x"),
            Wrong("the pairs, not whether", _the_pairs, "should be True or False"),
            Wrong("nothing at the end", _nothing_at_the_end, "after the loops"),
        ),
        right=(
            Right("two loops", _by_loops),
            Right("a flag", _by_flag),
            Right("the outermost objects", _by_extremes),
        ),
    ),
)
