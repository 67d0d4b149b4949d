"""Texts for a picture that stands where a telling of its scene would: said again, or what follows.

A language model that reads of scenes goes on after a telling with the same in other words, or with
facts that follow from it. A soft prompt in the telling's place is to have it go on as truly. There
is never a question among these texts.
"""

from __future__ import annotations

from vlcourse.data.corpus.lessons import Part
from vlcourse.data.corpus.tellings import AGAIN, stated
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import Fact
from vlcourse.data.world.questions import turned
from vlcourse.data.world.scene import Scene

FACTS = 6  # most facts in a text


def said_again(scene: Scene, key: int = 0) -> tuple[Part, ...]:
    """ "in other words:" and one of the scene's captions."""
    caption = Dice(scene.seed, "picture said again", key).pick(scene.captions())
    return ((AGAIN, True), (f"{caption}.", True))


def what_follows(scene: Scene, key: int = 0) -> tuple[Part, ...]:
    """Some of what is true of the scene, all kinds of facts alike often: numbers, what is there,
    relations from both sides, comparisons."""
    pools = _true(scene)
    parts: list[Part] = []
    for i in range(FACTS):
        dice = Dice(scene.seed, "fact of a picture", key, i)
        left = [pool for pool in pools.values() if pool]
        if not left:
            break
        parts.append((f"{stated(dice.take(dice.pick(left), at=16))}.", True))
    return tuple(parts)


def _true(scene: Scene) -> dict[str, list[Fact]]:
    """What is true among all that can be asked, by its kind."""
    found: dict[str, dict[Fact, None]] = {}
    for question in scene.questions():
        if question.kind in ("colour", "shape"):
            continue
        for one in (question, *turned(question)):
            if one.answer != "no":
                found.setdefault(one.kind, {})[one.fact] = None
    return {kind: list(facts) for kind, facts in found.items()}
