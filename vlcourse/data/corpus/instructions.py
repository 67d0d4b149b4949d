"""Instructions about the toy world: what to do, in words, and the one right response.

Six kinds of tasks, each with several templates of words, as MultiInstruct has them (Xu et al.
2023, "MultiInstruct"): describe a thing, count, list, compare, answer in a given form, and say so
when a thing is not there. A reader of the toy corpus knows all that is needed, and has never been
told to do any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vlcourse.data.corpus.describe import describe
from vlcourse.data.corpus.lessons import Part
from vlcourse.data.order import Order, Ordered
from vlcourse.data.world import World
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import Object, Thing, count
from vlcourse.data.world.scene import Scene
from vlcourse.data.world.words import COLOURS, SHAPES
from vlcourse.layers.ranges import RangeError

INSTRUCTION_KINDS = ("describe", "count", "list", "compare", "form", "refuse")
INSTRUCTION, RESPONSE = "anna said: {}", "ben said:"

# Only words that the toy corpus has: a language model knows the words of its instructions.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "describe": ("what is the {} like?", "what can be seen of the {}?", "the {}: what is it like?"),
    "count": ("how many {} can we see?", "we see how many {}?", "the {}: how many are there?"),
    "list": ("what are all the {}?", "all the {} in the picture?", "the {}: what are they?"),
    "compare": ("more {} or more {}?", "are there more {} or {}?", "{} or {}: more of what?"),
    "word": ("{} only that.", "{} and nothing else.", "only this: {}"),
    "sentence": ("{} and all the words.", "{} with all the words.", "with all the words: {}"),
}


@dataclass(frozen=True)
class Instruction:
    """A task in words, and the right response, without its full stop."""

    text: str
    response: str
    kind: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """What a reader is told, and what it is to say."""
        return (
            (f"{INSTRUCTION.format(self.text)} {RESPONSE}", False),
            (f"{self.response}.", True),
        )


def _worded(kind: str, key: int, *slots: str) -> str:
    return Dice(key, "instruction's words").pick(TEMPLATES[kind]).format(*slots)


def _known(objects: Sequence[Object]) -> list[tuple[Object, Thing]]:
    """Objects, each with a colour or a shape that no other has."""
    found = []
    for obj in objects:
        for thing in (Thing(shape=obj.shape), Thing(obj.colour)):
            if count(objects, thing) == 1:
                found.append((obj, thing))
    return found


def _absent(objects: Sequence[Object]) -> list[Thing]:
    things = [*(Thing(shape=shape) for shape in SHAPES), *(Thing(colour) for colour in COLOURS)]
    return [thing for thing in things if not count(objects, thing)]


def to_describe(objects: Sequence[Object], key: int) -> Instruction | None:
    """ "describe the circle." → "a small red circle"; None where no word means one thing only."""
    if not (known := _known(objects)):
        return None
    obj, thing = Dice(key, "told to describe").pick(known)
    whole = Thing(obj.colour, obj.shape, obj.size)
    return Instruction(_worded("describe", key, thing.noun()), str(whole), "describe")


def to_count(objects: Sequence[Object], key: int) -> Instruction:
    """ "count the circles." → "2 circles"."""
    dice = Dice(key, "told to count")
    things = [Thing(shape=obj.shape) for obj in objects] + [Thing(obj.colour) for obj in objects]
    thing = dice.pick(_absent(objects) if dice.below(4, at=32) == 0 else things, at=8)
    number = count(objects, thing)
    text = _worded("count", key, thing.noun(2))
    return Instruction(text, f"{number} {thing.noun(number)}", "count")


def to_list(objects: Sequence[Object], key: int) -> Instruction:
    """ "list all colours." → "red, blue"; in the order of the objects, each as often as it is."""
    what = Dice(key, "told to list").pick(("colour", "shape", "object"))
    said = {
        "colour": [obj.colour for obj in objects],
        "shape": [obj.shape for obj in objects],
        "object": [f"{obj.colour} {obj.shape}" for obj in objects],
    }[what]
    return Instruction(_worded("list", key, f"{what}s"), ", ".join(said), "list")


def to_compare(objects: Sequence[Object], key: int) -> Instruction:
    """ "compare the circles and the squares." → "more circles", "more squares" or "as many"."""
    dice = Dice(key, "told to compare")
    pool = SHAPES if dice.coin() else COLOURS
    there = [obj.shape if pool is SHAPES else obj.colour for obj in objects]
    first = dice.pick(there, at=8)
    second = dice.pick([word for word in pool if word != first], at=16)
    others = [word for word in there if word != first]
    if others and dice.coin(at=40):
        second = dice.pick(others, at=24)
    if dice.coin(at=48):
        first, second = second, first
    one, other = (Thing(shape=word) if pool is SHAPES else Thing(word) for word in (first, second))
    more = count(objects, one) - count(objects, other)
    response = f"more {(one if more > 0 else other).noun(2)}" if more else "as many"
    text = _worded("compare", key, one.noun(2), other.noun(2))
    return Instruction(text, response, "compare")


def _question(obj: Object, thing: Thing) -> tuple[str, str]:
    """The question for what is left of a thing that is known by one word, and the answer."""
    asked = "colour" if thing.shape else "shape"
    answer = obj.colour if thing.shape else obj.shape
    return f"what {asked} is the {thing.noun()}?", answer


def in_form(objects: Sequence[Object], key: int) -> Instruction | None:
    """ "what colour is the circle? say it in a sentence." → "the circle is red"; or in one word."""
    if not (known := _known(objects)):
        return None
    dice = Dice(key, "told a form")
    obj, thing = dice.pick(known)
    question, answer = _question(obj, thing)
    if dice.coin(at=32):
        return Instruction(_worded("word", key, question), answer, "form")
    verb = "is" if thing.shape else "is a"
    response = f"the {thing.noun()} {verb} {answer}"
    return Instruction(_worded("sentence", key, question), response, "form")


def to_refuse(objects: Sequence[Object], key: int) -> Instruction:
    """ "describe the star." where there is none → "there is no star"."""
    dice = Dice(key, "asked for nothing")
    thing = dice.pick(_absent(objects))
    if dice.coin(at=32):
        text = _worded("describe", key, thing.noun())
    else:
        asked = "colour" if thing.shape else "shape"
        question = f"what {asked} is the {thing.noun()}?"
        text = _worded(dice.pick(("word", "sentence"), at=40), key, question)
    return Instruction(text, f"there is no {thing.noun()}", "refuse")


_MAKERS: dict[str, Callable[[Sequence[Object], int], Instruction | None]] = {
    "describe": to_describe, "count": to_count, "list": to_list, "compare": to_compare,
    "form": in_form, "refuse": to_refuse,
}  # fmt: skip


def instructed(objects: Sequence[Object], key: int, kind: str) -> Instruction | None:
    """An instruction of a kind about a scene; None where the scene allows none.

    Args:
        objects: in the order in which they are told, or stand from left to right.
        key: chooses the words and what they are about.
        kind: one of :data:`INSTRUCTION_KINDS`.
    """
    return _MAKERS[kind](objects, key)


def in_order(objects: Sequence[Object], told: str) -> list[Object]:
    """The objects in the order in which a text first names them."""
    return sorted(objects, key=lambda obj: told.index(f"{obj.colour} {obj.shape}"))


class Instructions(Ordered):
    """Scenes, told or shown, each with some instructions; map-style.

    Sample i depends on the arguments and on i only: {"id", "kind": of the first instruction,
    "parts", "text", "instructions": those asked, "scene"}, and where scenes are shown "image":
    uint8 (3, size, size). What is told is a description in words, and lists follow its order; what
    is shown is the picture, and lists go from left to right.

    Args:
        split: of the scenes.
        n: how many.
        seed: another seed gives other scenes.
        objects: least and greatest number of objects in a scene.
        turns: instructions about a scene, one after the other.
        kinds: of instructions.
        images: show the scenes instead of telling them.
        size: side of the pictures, in pixels.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    def __init__(
        self,
        split: str = "train",
        n: int = 10_000,
        seed: int = 0,
        objects: tuple[int, int] = (2, 4),
        turns: int = 1,
        kinds: Sequence[str] = INSTRUCTION_KINDS,
        images: bool = False,
        size: int = 32,
    ) -> None:
        if not 1 <= turns <= 1000:
            raise RangeError(f"turns={turns} is out of range; 1 to 1,000 is what it may be")
        self.world = World(split, n, size, objects, seed)
        self.turns, self.kinds, self.images = turns, tuple(kinds), images
        self.order = Order(window=8)
        self.name = f"instructions/{split}" + (f"-{seed}" if seed else "")

    def __len__(self) -> int:
        return len(self.world)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once, which is faster than one by one."""
        if self.images:
            seen = self.world.__getitems__(indices)
            found = [self._sample(i, s["scene"]) for i, s in zip(indices, seen, strict=True)]
            return [own | {"image": s["image"]} for own, s in zip(found, seen, strict=True)]
        scenes = self.world.scenes(indices)
        return [self._sample(i, scene) for i, scene in zip(indices, scenes, strict=True)]

    def _sample(self, index: int, scene: Scene) -> dict[str, Any]:
        told, parts = "", list[Part]()
        if self.images:
            objects = sorted(scene.objects, key=lambda obj: obj.x)
        else:
            told = describe(scene.objects, scene.seed).text
            objects = in_order(scene.objects, told)
            parts.append((told, False))
        asked = []
        for turn in range(self.turns):
            dice = Dice(scene.seed, "instructed", turn)
            made = instructed(objects, dice.bits, dice.pick(self.kinds, at=16))
            asked.append(made or to_refuse(objects, dice.bits))
        for one in asked:
            parts += one.parts
        return {
            "id": f"{self.name}/{index % len(self)}",
            "kind": asked[0].kind,
            "parts": tuple(parts),
            "text": " ".join(text for text, _ in parts),
            "instructions": tuple(asked),
            "scene": scene,
        }
