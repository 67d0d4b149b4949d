"""Chance with a name: a seed and a purpose give draws that nothing else disturbs.

A throw is 64 bits of :func:`vlcourse.data.world.words.hash_int`. What one purpose draws does not
change when another is added, and every machine draws the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from vlcourse.data.world.words import hash_int

T = TypeVar("T")

# A number once given is never given again: the shipped models were trained on what it draws.
PURPOSES: dict[str, int] = {
    # captions
    "caption": 21,
    "caption of a pattern": 22,
    "full caption": 23,
    # questions
    "coin": 31,
    "shape to count": 32,
    "colour to count": 33,
    "absent pair": 34,
    "word to compare with": 35,
    # descriptions
    "order": 61,
    "listing": 62,
    "stated relation": 63,
    # stories
    "hero": 71,
    "friend": 72,
    "made-up friend": 73,
    "friend's colour": 74,
    "name": 75,
    "opening": 76,
    "meeting": 77,
    "length": 78,
    "middle": 79,
    "ending": 80,
    # documents
    "kind of document": 81,
    "question": 82,
    "retold as a whole": 83,
    "retelling": 84,
    "retold part": 85,
    "fact": 86,
    "brief": 87,
    "focus": 88,
    # lessons
    "number": 91,
    "different pairs": 92,
    "recall": 93,
    "relation": 94,
    "wording": 95,
    "sized": 96,
    "what twins share": 97,
    "large": 98,
    "of few colours": 99,
    "order of sized": 100,
    "twins": 101,
    "first twin": 102,
    "second twin": 103,
    # pictures
    "asked about a picture": 104,
    "picture said again": 105,
    "fact of a picture": 106,
    "text of a picture": 107,
    "picture told": 108,
    # texts of the web
    "web: scene": 131,
    "web: kind": 132,
    "web: words": 133,
    "web: numbers": 134,
    "web: language": 135,
    # jobs
    "capfilt: caption": 141,
    # instructions
    "instructed": 151,
    "instruction's words": 152,
    "told to describe": 153,
    "told to count": 154,
    "told to list": 155,
    "told to compare": 156,
    "told a form": 157,
    "asked for nothing": 158,
    "retold when told": 159,
    # what a teacher writes who sees no pictures
    "teacher: captions": 161,
    "teacher: asked": 162,
    "teacher: words": 163,
    "teacher: supposed": 164,
    # films
    "script": 171,
    "script: shapes": 172,
    "script: times": 173,
    "script: happening": 174,
    "script: colour": 175,
    "script: size": 176,
    "script: said": 177,
    "stage": 178,
    "stage: place": 179,
    "asked of a film": 180,
    "told of a film": 181,
    "film list": 182,
    "film list: things": 183,
    "film list: asked": 184,
    # chats about videos
    "asked to describe": 191,
    "chat about a film": 193,
    "asked about a film that is seen": 194,
    "film or picture": 195,
    "film said again": 196,
    "cast of a film": 197,
}


class Dice:
    """One throw for a purpose, 64 bits. Independent draws of it begin some 8 bits apart (``at``).

    Args:
        seed: of a scene, in [0, 2**64).
        purpose: a key of ``PURPOSES``.
        turn: numbers that tell apart the throws for one purpose.
    """

    __slots__ = ("bits",)

    def __init__(self, seed: int, purpose: str, *turn: int) -> None:
        self.bits = hash_int(seed, PURPOSES[purpose], *turn)

    def below(self, n: int, at: int = 0) -> int:
        """A number in [0, n)."""
        return (self.bits >> at) % n

    def coin(self, at: int = 0) -> bool:
        """The bit at a place."""
        return bool(self.bits >> at & 1)

    def pick(self, items: Sequence[T], at: int = 0) -> T:
        """One of the items."""
        return items[(self.bits >> at) % len(items)]

    def take(self, pool: list[T], at: int = 0) -> T:
        """One of a pool, out of which it is taken."""
        return pool.pop((self.bits >> at) % len(pool))
