"""Questions about a scene, with answers; yes and no come up equally often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import (
    OPPOSITE,
    Comparison,
    Count,
    Fact,
    HasObject,
    Object,
    Relation,
    Thing,
    count,
    related,
    relations_between,
)
from vlcourse.data.world.words import COLOURS, SHAPES

QUESTION_KINDS: tuple[str, ...] = (
    "colour",
    "shape",
    "count",
    "existence",
    "relation",
    "comparison",
)
_PHRASE = {
    "left of": "to the left of",
    "right of": "to the right of",
}


@dataclass(frozen=True)
class Question:
    """A question with its answer: a colour, a shape, a number in digits, or "yes" or "no".

    `fact` is what a "yes" asserts, or what the answer to an open question makes true.
    """

    text: str
    answer: str
    kind: str
    fact: Fact


def questions(
    objects: Sequence[Object], key: int, pairs: tuple[tuple[str, str], ...]
) -> list[Question]:
    """Questions of every kind that the scene allows.

    A yes/no question comes either as a pair, one of each answer, or as one whose answer a coin
    of `key` decided, so the answer cannot be guessed from the words. Only the (colour, shape)
    `pairs` are named.
    """
    asked: list[Question] = []

    def coin(*salt: int) -> bool:
        return Dice(key, "coin", *salt).coin(at=40)

    def yes_no(text: str, kind: str, answer: bool, fact: Fact) -> None:
        asked.append(Question(text, "yes" if answer else "no", kind, fact))

    for obj in objects:
        for size in (None, obj.size):
            if count(objects, Thing(shape=obj.shape, size=size)) == 1:
                noun = Thing(shape=obj.shape, size=size).noun()
                fact = HasObject(Thing(obj.colour, obj.shape, size))
                asked.append(Question(f"what colour is the {noun}?", obj.colour, "colour", fact))
            if count(objects, Thing(obj.colour, size=size)) == 1:
                noun = Thing(obj.colour, size=size).noun()
                fact = HasObject(Thing(obj.colour, obj.shape, size))
                asked.append(Question(f"what shape is the {noun}?", obj.shape, "shape", fact))

    shape = Dice(key, "shape to count").pick(SHAPES)
    colour = Dice(key, "colour to count").pick(COLOURS)
    counted = [Thing(), Thing(shape=objects[0].shape), Thing(objects[0].colour)]
    counted += [Thing(shape=shape), Thing(colour)]
    for thing in dict.fromkeys(counted):
        n = count(objects, thing)
        text = f"how many {thing.noun(2)} are there?"
        asked.append(Question(text, str(n), "count", Count(thing, n)))

    present = [(obj.colour, obj.shape) for obj in objects]
    absent = [pair for pair in pairs if pair not in present]
    # Half of the absent pairs share a colour or a shape with an object that is there.
    near = [p for p in absent if any(p[0] == q[0] or p[1] == q[1] for q in present)]
    for i, pair in enumerate(present):
        others = near if coin(i, 3) else absent
        other = Dice(key, "absent pair", i).pick(others)
        absent, near = ([p for p in pool if p != other] for pool in (absent, near))
        here, not_here = HasObject(Thing(*pair)), HasObject(Thing(*other))
        yes_no(f"is there {here.thing}?", "existence", True, here)
        yes_no(f"is there {not_here.thing}?", "existence", False, not_here)

    for i, (first, second) in enumerate(combinations(objects, 2)):
        a, b = (first, second) if coin(i, 0) else (second, first)
        named = [Thing(obj.colour, obj.shape) for obj in (a, b)]
        for j, true in enumerate(relations_between(a, b)):
            if true in OPPOSITE:
                asks = true if coin(i, 1, j) else OPPOSITE[true]
                relation = Relation(named[0], asks, named[1])
                yes_no(whether(relation), "relation", asks == true, relation)
        bigger = related(a, "bigger than", b)
        if bigger or related(b, "bigger than", a):
            bigger_fact = Relation(named[0], "bigger than", named[1])
            yes_no(whether(bigger_fact), "comparison", bigger, bigger_fact)

    shapes = [Thing(shape=s) for s in dict.fromkeys([*(s for _, s in present), *SHAPES])]
    colours = [Thing(c) for c in dict.fromkeys([*(c for c, _ in present), *COLOURS])]
    for i, words in enumerate((shapes, colours)):
        # One that is there against any other, of which there may be none.
        x, y = words[0], Dice(key, "word to compare with", i).pick(words[1:])
        if count(objects, x) != count(objects, y):
            x, y = (x, y) if coin(i, 2) else (y, x)
            more = count(objects, x) > count(objects, y)
            more_fact = Comparison(x, "more", y)
            yes_no(whether(more_fact), "comparison", more, more_fact)
    return asked


def turned(question: Question) -> list[Question]:
    """The same question about a relation or comparison, asked the other ways round.

    What is left of something has it on its right: three further questions whose answers follow. A
    question of another kind has none.
    """
    fact, same, other = question.fact, question.answer, {"yes": "no", "no": "yes"}
    if isinstance(fact, Comparison):
        found: list[tuple[Fact, str]] = [(Comparison(fact.b, fact.comparison, fact.a), other[same])]
    elif isinstance(fact, Relation):
        found = [(Relation(fact.b, fact.relation, fact.a), other[same])]
        if fact.relation in OPPOSITE:
            opposite = OPPOSITE[fact.relation]
            found += [
                (Relation(fact.b, opposite, fact.a), same),
                (Relation(fact.a, opposite, fact.b), other[same]),
            ]
    else:
        return []
    return [Question(whether(f), answer, question.kind, f) for f, answer in found]


def whether(fact: Fact) -> str:
    """The yes/no question whether a relation or a comparison holds."""
    if isinstance(fact, Comparison):
        return f"are there {fact.comparison} {fact.a.noun(2)} than {fact.b.noun(2)}?"
    assert isinstance(fact, Relation)
    words = _PHRASE.get(fact.relation, fact.relation)
    return f"is the {fact.a.noun()} {words} the {fact.b.noun()}?"
