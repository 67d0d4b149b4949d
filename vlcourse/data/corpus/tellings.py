"""Documents that tell of a scene and ask nothing: told twice, with what follows, as a story."""

from __future__ import annotations

from vlcourse.data.corpus.describe import Description, describe
from vlcourse.data.corpus.lessons import Part
from vlcourse.data.corpus.stories import story
from vlcourse.data.world import Caption
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import Comparison, Count, Fact, HasObject, Relation
from vlcourse.data.world.scene import Scene

AGAIN = "in other words:"


def retelling(scene: Scene) -> tuple[Part, ...]:
    """A description, and the scene once more in other words, or a part of it."""
    told = describe(scene.objects, scene.seed)
    if Dice(scene.seed, "retold as a whole").coin():
        again = describe(scene.objects, Dice(scene.seed, "retelling").bits, relations=0).text
    else:
        again = f"{Dice(scene.seed, 'retold part').pick(implied(scene, told))}."
    return ((told.text, True), (f"{AGAIN} {again}", True))


def implied(scene: Scene, told: Description) -> list[Caption]:
    """The scene's captions that follow from a description of it."""
    return [
        caption
        for caption in scene.captions()
        if all(told.implies(fact, scene.objects) for fact in caption.facts)
    ]


def facts(scene: Scene) -> tuple[Part, ...]:
    """A description, and up to five facts that follow from it."""
    told = describe(scene.objects, scene.seed)
    known = [
        question.fact
        for question in scene.questions()
        if question.kind not in ("colour", "shape") and told.implies(question.fact, scene.objects)
    ]
    parts: list[Part] = [(told.text, True)]
    for i in range(min(5, len(known))):
        fact = Dice(scene.seed, "fact", i).take(known)
        parts.append((f"{stated(fact)}.", True))
    return tuple(parts)


def stated(fact: Fact) -> str:
    """A fact as a sentence."""
    if isinstance(fact, Count):
        verb = "is" if fact.n == 1 else "are"
        return f"there {verb} {fact.n} {fact.thing.noun(fact.n)}"
    if isinstance(fact, Relation):
        return f"the {fact.a.noun()} is {fact.relation} the {fact.b.noun()}"
    assert isinstance(fact, (HasObject, Comparison))
    return str(fact)


def told_story(scene: Scene) -> tuple[Part, ...]:
    """A story about the scene's objects."""
    return ((story(scene.objects, scene.seed), True),)
