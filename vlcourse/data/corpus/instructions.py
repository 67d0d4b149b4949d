"""Instructions about the toy world: what to do, in words, and the one right response.

Six kinds of tasks, each with several templates of words, as MultiInstruct has them (Xu et al.
2023, "MultiInstruct"). Four ask for what a reader of the toy corpus can do already, and has never
been told to do in this way: describe a thing, count, compare, and say no to what is not there. Two
ask for what it has never done: list, and answer in the form of a sentence. The words around an
instruction and its response are Alpaca's, and new to it.
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
from vlcourse.data.world.words import COLOURS, SEEN, SHAPES, allowed_pairs
from vlcourse.layers.ranges import RangeError

KNOWN_KINDS = ("describe", "count", "compare", "refuse")
NEW_KINDS = ("list", "form")
INSTRUCTION_KINDS = (*KNOWN_KINDS, *NEW_KINDS)
INSTRUCTION, RESPONSE = "instruction: {}", "response:"

# Words that the toy corpus has: a language model knows the words of its instructions.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "colour": (
        "what colour is the {}?",
        "what colour is the {} here?",
        "the {}: what colour is it?",
    ),
    "shape": ("what shape is the {}?", "what shape is the {} here?", "the {}: what shape is it?"),
    "count": ("how many {} are there?", "how many {} are here?", "the {}: how many are there?"),
    "compare": ("are there more {} than {}?", "more {} than {}?", "are more {} here than {}?"),
    "refuse": ("is there {}?", "is {} in the picture?", "is there {} here?"),
    "list": ("what are all the {}?", "all the {} in the picture?", "the {}: what are they?"),
    "sentence": ("{} all the words.", "{} with all the words.", "with all the words: {}"),
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
    """ "what colour is the circle?" → "red"; None where no word means one thing only."""
    if not (known := _known(objects)):
        return None
    obj, thing = Dice(key, "told to describe").pick(known)
    asked, answer = ("colour", obj.colour) if thing.shape else ("shape", obj.shape)
    return Instruction(_worded(asked, key, thing.noun()), answer, "describe")


def to_count(objects: Sequence[Object], key: int) -> Instruction:
    """ "how many circles are there?" → "2"; one time in four of what is not there."""
    dice = Dice(key, "told to count")
    things = [Thing(shape=obj.shape) for obj in objects] + [Thing(obj.colour) for obj in objects]
    thing = dice.pick(_absent(objects) if dice.below(4, at=32) == 0 else things, at=8)
    return Instruction(_worded("count", key, thing.noun(2)), str(count(objects, thing)), "count")


def to_compare(objects: Sequence[Object], key: int) -> Instruction:
    """ "are there more circles than squares?" → "yes" or "no"."""
    dice = Dice(key, "told to compare")
    pool = SHAPES if dice.coin() else COLOURS
    there = [obj.shape if pool is SHAPES else obj.colour for obj in objects]
    first = dice.pick(there, at=8)
    others = [word for word in there if word != first] if dice.coin(at=40) else []
    second = dice.pick(others or [word for word in pool if word != first], at=16)
    if dice.coin(at=48):
        first, second = second, first
    one, other = (Thing(shape=word) if pool is SHAPES else Thing(word) for word in (first, second))
    response = "yes" if count(objects, one) > count(objects, other) else "no"
    return Instruction(_worded("compare", key, one.noun(2), other.noun(2)), response, "compare")


def to_refuse(objects: Sequence[Object], key: int, pairs: Sequence[tuple[str, str]]) -> Instruction:
    """ "is there a red star?" → "no" where there is none, and as often "yes" where there is one."""
    dice = Dice(key, "asked for nothing")
    there = [(obj.colour, obj.shape) for obj in objects]
    here = dice.coin(at=32)
    pair = dice.pick(there if here else [pair for pair in pairs if pair not in there])
    text = _worded("refuse", key, str(Thing(*pair)))
    return Instruction(text, "yes" if here else "no", "refuse")


def to_list(objects: Sequence[Object], key: int) -> Instruction:
    """ "what are all the colours?" → "red, blue"; in the order of the objects, each as often as it
    is."""
    what = Dice(key, "told to list").pick(("colour", "shape"))
    said = [obj.colour if what == "colour" else obj.shape for obj in objects]
    return Instruction(_worded("list", key, f"{what}s"), ", ".join(said), "list")


def in_form(objects: Sequence[Object], key: int) -> Instruction | None:
    """ "what colour is the circle? with all the words." → "the circle is red"."""
    if not (known := _known(objects)):
        return None
    obj, thing = Dice(key, "told a form").pick(known)
    asked, answer = ("colour", obj.colour) if thing.shape else ("shape", f"a {obj.shape}")
    question = TEMPLATES[asked][0].format(thing.noun())
    response = f"the {thing.noun()} is {answer}"
    return Instruction(_worded("sentence", key, question), response, "form")


def instructed(
    objects: Sequence[Object], key: int, kind: str, pairs: Sequence[tuple[str, str]] = SEEN
) -> Instruction | None:
    """An instruction of a kind about a scene; None where the scene allows none.

    Args:
        objects: in the order in which they are told, or stand from left to right.
        key: chooses the words and what they are about.
        kind: one of :data:`INSTRUCTION_KINDS`.
        pairs: the colours and shapes that may be named together.
    """
    if kind == "refuse":
        return to_refuse(objects, key, pairs)
    return _MAKERS[kind](objects, key)


_MAKERS: dict[str, Callable[[Sequence[Object], int], Instruction | None]] = {
    "describe": to_describe, "count": to_count, "compare": to_compare, "list": to_list,
    "form": in_form,
}  # fmt: skip


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
            pairs = allowed_pairs(scene.split)
            made = instructed(objects, dice.bits, dice.pick(self.kinds, at=16), pairs)
            asked.append(made or to_refuse(objects, dice.bits, pairs))
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
