"""Lists with very short questions: the least that needs binding, many times over.

A reader first has to learn *mechanisms*: to find a thing again, what it was told with, and in which
order. Full sentences hide them among a hundred other words; lists with a dozen questions of two
words each show nothing else, and the mechanisms are learned within minutes. Sentences then use them
(Arora et al. 2023, "Zoology": multi-query associative recall).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from vlcourse.data.world.captions import relation_words
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import OPPOSITE, SPATIAL, Object, Relation, Thing, count
from vlcourse.data.world.questions import Question, turned
from vlcourse.data.world.scene import Scene
from vlcourse.data.world.words import COLOURS, SHAPES, SIZES, allowed_pairs

LESSONS: tuple[str, ...] = ("things", "sizes", "pairs", "ways", "descriptions")
"""What a curriculum teaches, in this order; the last is in :mod:`vlcourse.data.corpus.corpus`."""

RECALLS = 12  # questions in a document

T = TypeVar("T")
Part = tuple[str, bool]
"""A piece of text, and whether a model is to learn to write it."""


def things(scene: Scene) -> tuple[Part, ...]:
    """ "a red circle, a blue square." then "circle? red. blue? square. …"."""
    named = _different_pairs(scene, 2 + Dice(scene.seed, "number").below(5))
    told = ", ".join(str(Thing(*pair)) for pair in named)
    parts: list[Part] = [(f"{told}.", False)]
    for i in range(RECALLS):
        dice = Dice(scene.seed, "recall", i)
        value, key = dice.pick(named, at=8)
        if dice.coin():
            key, value = value, key
        parts += [(f"{key}?", False), (f"{value}.", True)]
    return tuple(parts)


def pairs(scene: Scene, mixed: bool) -> tuple[Part, ...]:
    """ "the red circle is above the blue square." then "circle? square above. …".

    Asked for a thing, the reader names the other one of its pair and then the relation. The name
    comes first because it is what can be learned first: a relation depends on the word that was
    used *and* on which thing was named first, neither of which tells anything alone (an exclusive
    or), so nothing leads there but what finding the partner has taught.

    Args:
        scene: chooses everything at random.
        mixed: ask in three ways instead of one: as above, with the relation first ("red circle is?
            above blue square.") and by yes or no ("red circle above blue square? yes.").
    """
    told = _pairs(scene)
    sentences = (
        f"the {r.a.noun()} is {relation_words(r.relation, Dice(scene.seed, 'wording', i).bits)} "
        f"the {r.b.noun()}."
        for i, r in enumerate(told)
    )
    parts: list[Part] = [(" ".join(sentences), False)]
    for i in range(RECALLS):
        dice = Dice(scene.seed, "recall", i)
        one, turn, way = dice.pick(told, at=16), dice.below(4), dice.below(100, at=32)
        as_told = Question("", "yes", "relation", one)
        asked = [as_told, *turned(as_told)][turn]
        true = one if turn & 1 else Relation(one.b, OPPOSITE[one.relation], one.a)
        if not mixed or way < 25:
            question, answer = f"{true.a.shape}?", f"{true.b.shape} {true.relation}."
        elif way < 65:
            question, answer = f"{true.a.noun()} is?", f"{true.relation} {true.b.noun()}."
        else:
            assert isinstance(asked.fact, Relation)
            question, answer = f"{brief_relation(asked.fact)}?", f"{asked.answer}."
        parts += [(question, False), (answer, True)]
    return tuple(parts)


def sizes(scene: Scene) -> tuple[Part, ...]:
    """ "a small red circle, a large blue circle." then "red circle? small. large circle? blue. …".

    A thing is asked for by two of its three properties, two things are compared ("red circle bigger
    than blue circle? no."), and things that share a property are counted ("circles? 2.").
    """
    told = _sized_objects(scene)
    parts: list[Part] = [(f"{', '.join(str(_thing(o)) for o in told)}.", False)]
    for i in range(RECALLS):
        dice = Dice(scene.seed, "recall", i)
        obj, way = dice.pick(told, at=8), dice.below(100, at=32)
        if way < 25:
            others = [each for each in told if each.size != obj.size]
            other = _thing(dice.pick(others, at=16), size=False)
            question = brief_relation(Relation(_thing(obj, size=False), "bigger than", other))
            answer = "yes" if obj.size == "large" else "no"
        elif way < 65:
            question, answer = _known_by_size(told, dice)
        elif way < 85:
            question, answer = _thing(obj, size=False).noun(), obj.size
        else:
            counted = Thing(obj.colour) if dice.coin() else Thing(shape=obj.shape)
            if dice.below(4, at=1) == 0:
                counted = Thing(dice.pick(COLOURS, at=40))
            question, answer = counted.noun(2), str(count(told, counted))
        parts += [(f"{question}?", False), (f"{answer}.", True)]
    return tuple(parts)


def _known_by_size(told: Sequence[Object], dice: Dice) -> tuple[str, str]:
    """A size with a colour or shape, which only one thing has both of; and its third property.

    Of all that can be asked so, what has a twin of another size comes first.
    """
    found, needed = list[tuple[str, str]](), list[tuple[str, str]]()
    for obj in told:
        for known, answer in ((Thing(shape=obj.shape), obj.colour), (Thing(obj.colour), obj.shape)):
            sized = replace(known, size=obj.size)
            if count(told, sized) == 1:
                pool = needed if count(told, known) > 1 else found
                pool.append((sized.noun(), answer))
    pool = needed or found or [(_thing(told[0], size=False).noun(), told[0].size)]
    return dice.pick(pool, at=16)


def _sized_objects(scene: Scene) -> list[Object]:
    """Two to six objects, small ones and large ones.

    Half of the times they are twins: two of a shape, or of a colour, and of different size. Else
    all differ in colour and shape, so that one word finds each, or there are three colours.
    """
    dice, larger = Dice(scene.seed, "sized"), Dice(scene.seed, "large")
    if dice.coin():
        named = _twins(scene)
        sizes = [SIZES[larger.coin(at=i // 2) ^ (i & 1)] for i in range(len(named))]
    else:
        number = 3 + Dice(scene.seed, "number").below(4)
        if dice.coin(at=1):
            named = _different_pairs(scene, number)
        else:
            first, step = (
                dice.bits >> 8,
                1 + 2 * dice.below(4, at=16),
            )  # an odd step reaches three different ones
            few = [COLOURS[(first + i * step) % len(COLOURS)] for i in range(3)]
            pairs = [pair for pair in allowed_pairs(scene.split) if pair[0] in few]
            named = [_draw(pairs, scene, "of few colours", i) for i in range(number)]
        large = 1 + larger.below((1 << number) - 2)  # neither none of them nor all
        sizes = [SIZES[large >> i & 1] for i in range(number)]
    objects = [
        Object(colour, shape, size, x=0.5, y=0.5, radius=0.1)
        for (colour, shape), size in zip(named, sizes, strict=True)
    ]
    return [_draw(objects, scene, "order of sized") for _ in range(len(objects))]


def _twins(scene: Scene) -> list[tuple[str, str]]:
    """Two, four or six pairs of colour and shape; each two share one, and differ in all else from
    the others, as far as there are others."""
    shared = Dice(scene.seed, "what twins share").below(2)  # 0: the colour, 1: the shape
    keys, named = list((COLOURS, SHAPES)[shared]), list[tuple[str, str]]()
    for i in range(1 + Dice(scene.seed, "number").below(3)):
        key = _draw(keys, scene, "twins", i)
        alike = [pair for pair in allowed_pairs(scene.split) if pair[shared] == key]
        new = [p for p in alike if p[1 - shared] not in [known[1 - shared] for known in named]]
        pairs = new if len(new) > 1 else alike
        named += [_draw(pairs, scene, "first twin", i), _draw(pairs, scene, "second twin", i)]
    return named


def _draw(pool: list[T], scene: Scene, purpose: str, *turn: int) -> T:
    """Take one out of the pool."""
    return Dice(scene.seed, purpose, *turn, len(pool)).take(pool)


def _thing(obj: Object, size: bool = True) -> Thing:
    return Thing(obj.colour, obj.shape, obj.size if size else None)


def brief_relation(fact: Relation) -> str:
    """ "red circle above blue square"."""
    return f"{fact.a.noun()} {fact.relation} {fact.b.noun()}"


def _pairs(scene: Scene) -> list[Relation]:
    named = [
        Thing(*pair)
        for pair in _different_pairs(scene, 2 * (1 + Dice(scene.seed, "number").below(3)))
    ]
    return [
        Relation(a, Dice(scene.seed, "relation", i).pick(SPATIAL), b)
        for i, (a, b) in enumerate(list(pairwise(named))[::2])
    ]


def _different_pairs(scene: Scene, number: int) -> list[tuple[str, str]]:
    """Up to 6 pairs that may be named in the scene's split, all of different colour and shape."""
    pairs, chosen = list(allowed_pairs(scene.split)), list[tuple[str, str]]()
    while len(chosen) < number:
        colour, shape = _draw(pairs, scene, "different pairs")
        if not any(colour == known[0] or shape == known[1] for known in chosen):
            chosen.append((colour, shape))
    return chosen
