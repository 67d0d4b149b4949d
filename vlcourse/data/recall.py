"""Lists with very short questions: the least that needs binding, many times over.

A reader first has to learn *mechanisms*: to find a thing again, what it was told with, and in which
order. Full sentences hide them among a hundred other words; lists with a dozen questions of two
words each show nothing else, and the mechanisms are learned within minutes. Sentences then use them
(Arora et al. 2023, "Zoology": multi-query associative recall).
"""

from __future__ import annotations

from itertools import pairwise

from vlcourse.data.facts import OPPOSITE, SPATIAL, Relation, Thing
from vlcourse.data.language import relation_words
from vlcourse.data.questions import Question, turned
from vlcourse.data.scene import Scene
from vlcourse.data.splits import allowed_pairs, hash_int

RECALLS = 12  # questions in a document

Part = tuple[str, bool]
"""A piece of text, and whether a model is to learn to write it."""


def things(scene: Scene) -> tuple[Part, ...]:
    """ "a red circle, a blue square." then "circle? red. blue? square. …"."""
    named = _different_things(scene, 2 + hash_int(scene.seed, 91) % 5)
    parts: list[Part] = [(f"{', '.join(map(str, named))}.", False)]
    for i in range(RECALLS):
        h = hash_int(scene.seed, 93, i)
        thing = named[(h >> 8) % len(named)]
        key, value = str(thing.shape), str(thing.colour)
        if h & 1:
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
        f"the {r.a.noun()} is {relation_words(r.relation, hash_int(scene.seed, 95, i))} "
        f"the {r.b.noun()}."
        for i, r in enumerate(told)
    )
    parts: list[Part] = [(" ".join(sentences), False)]
    for i in range(RECALLS):
        h = hash_int(scene.seed, 93, i)
        one, turn, way = told[(h >> 16) % len(told)], h & 3, (h >> 32) % 100
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


def brief_relation(fact: Relation) -> str:
    """ "red circle above blue square"."""
    return f"{fact.a.noun()} {fact.relation} {fact.b.noun()}"


def _pairs(scene: Scene) -> list[Relation]:
    named = _different_things(scene, 2 * (1 + hash_int(scene.seed, 91) % 3))
    return [
        Relation(a, SPATIAL[hash_int(scene.seed, 94, i) % len(SPATIAL)], b)
        for i, (a, b) in enumerate(list(pairwise(named))[::2])
    ]


def _different_things(scene: Scene, count: int) -> list[Thing]:
    """Things that may be named in the scene's split; up to 6 of different colours and shapes."""
    pairs, chosen = list(allowed_pairs(scene.split)), list[Thing]()
    while len(chosen) < count:
        colour, shape = pairs.pop(hash_int(scene.seed, 92, len(pairs)) % len(pairs))
        if not any(colour == thing.colour or shape == thing.shape for thing in chosen):
            chosen.append(Thing(colour, shape))
    return chosen
