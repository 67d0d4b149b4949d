"""Visual instructions from a teacher who sees no pictures (Liu et al. 2023, "Visual Instruction
Tuning", section 3).

LLaVA's teacher is a language model that reads two things about a picture: captions, and the boxes
of its objects. From these it writes three kinds of instructions: a conversation, a detailed
description, and complex reasoning. Here the teacher is a few lines of code, and reads the same:
what it writes is a function of that text alone, and true of the picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from vlcourse.data.sources.instruct import Turn
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import (
    NUMBERS,
    OPPOSITE,
    Object,
    Thing,
    count,
    relations_between,
)
from vlcourse.data.world.questions import questions
from vlcourse.data.world.scene import Scene
from vlcourse.data.world.words import allowed_pairs

VISUAL_KINDS = ("conversation", "detail", "reasoning")
CAPTIONS = 5  # as COCO has for a picture
_LARGE = 0.15  # radius, as a part of the picture, between small and large
_BOX = re.compile(r"^(\w+) (\w+): \[([\d.]+), ([\d.]+), ([\d.]+), ([\d.]+)\]$", re.MULTILINE)

_DETAIL = (
    "describe the picture in detail.",
    "what can be seen in this picture? say all there is to say.",
    "tell me everything about the image.",
)


def context_of(scene: Scene) -> str:
    """All that the teacher reads: captions, then a box a line, "red circle: [x0, y0, x1, y1]".

    Corners are parts of the picture's side, from the top left. Four places of a number, so that no
    relation comes true by rounding.
    """
    captions = list(map(str, scene.captions()))
    told = [
        Dice(scene.seed, "teacher: captions", i).take(captions)
        for i in range(min(CAPTIONS, len(captions)))
    ]
    boxes = [
        f"{o.colour} {o.shape}: [{o.x - o.radius:.4f}, {o.y - o.radius:.4f}, "
        f"{o.x + o.radius:.4f}, {o.y + o.radius:.4f}]"
        for o in scene.objects
    ]
    return "\n".join([*told, "", *boxes])


def objects_in(context: str) -> list[Object]:
    """What the teacher knows of the picture, from the boxes."""
    found = []
    for colour, shape, *corners in _BOX.findall(context):
        left, top, right, bottom = map(float, corners)
        x, y, radius = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
        radius = min(radius, x, y, 1 - x, 1 - y)  # four places of a number were kept
        found.append(Object(colour, shape, "large" if radius > _LARGE else "small", x, y, radius))
    return found


def visual_instruction(context: str, key: int, kind: str, split: str = "train") -> tuple[Turn, ...]:
    """What the teacher writes about a picture.

    Args:
        context: what :func:`context_of` gives.
        key: chooses the words, and what is asked.
        kind: one of :data:`VISUAL_KINDS`.
        split: of the scene; says which pairs of colour and shape may be named.
    """
    return _KINDS[kind](objects_in(context), key, split)


def _conversation(objects: Sequence[Object], key: int, split: str) -> tuple[Turn, ...]:
    """Three questions of different kinds, answered in sentences."""
    asked = questions(objects, key, allowed_pairs(split))
    turns: list[Turn] = []
    kinds = list(dict.fromkeys(question.kind for question in asked))
    for i in range(min(3, len(kinds))):
        dice = Dice(key, "teacher: asked", i)
        kind = dice.take(kinds)
        question = dice.pick([one for one in asked if one.kind == kind], at=16)
        turns.append(Turn(question.text, _sentence(question.text, question.answer)))
    return tuple(turns)


def _sentence(question: str, answer: str) -> str:
    """ "what colour is the circle?", "red" → "the circle is red."."""
    if found := re.fullmatch(r"what colour is (the .+)\?", question):
        return f"{found[1]} is {answer}."
    if found := re.fullmatch(r"what shape is (the .+)\?", question):
        return f"{found[1]} is {Thing(shape=answer)}."
    if found := re.fullmatch(r"how many (.+) are there\?", question):
        return f"the number of {found[1]} is {answer}."
    return f"{answer}."


def place(obj: Object) -> str:
    """Where in the picture an object stands: "at the top left", "in the middle"."""
    rows, columns = ("top", "", "bottom"), ("left", "", "right")
    row, column = rows[min(2, int(obj.y * 3))], columns[min(2, int(obj.x * 3))]
    words = " ".join(word for word in (row, column) if word)
    return f"at the {words}" if words else "in the middle"


def _detail(objects: Sequence[Object], key: int, split: str) -> tuple[Turn, ...]:
    """How many there are, then each with its size and place, then how neighbours stand."""
    n = len(objects)
    verb = "is" if n == 1 else "are"
    said = [f"there {verb} {NUMBERS[n]} {Thing().noun(n)} in the picture."]
    for obj in objects:
        said.append(f"{Thing(obj.colour, obj.shape, obj.size)} is {place(obj)}.")
    for a, b in zip(objects, objects[1:], strict=False):
        first, second = (Thing(o.colour, o.shape).noun() for o in (a, b))
        if how := [relation for relation in relations_between(a, b) if relation in OPPOSITE]:
            said.append(f"the {first} is {' and '.join(how)} the {second}.")
    return (Turn(Dice(key, "teacher: words").pick(_DETAIL), " ".join(said)),)


def _reasoning(objects: Sequence[Object], key: int, split: str) -> tuple[Turn, ...]:
    """What would be the case if, with the reason: one step beyond what can be seen."""
    dice = Dice(key, "teacher: supposed")
    ways = [_taken_away, _walked] if len(objects) > 1 else [_taken_away]
    return (dice.pick(ways)(objects, dice),)


def _taken_away(objects: Sequence[Object], dice: Dice) -> Turn:
    gone = dice.pick(objects, at=8)
    left = [obj for obj in objects if obj is not gone]
    what = Thing(gone.colour, gone.shape).noun()
    same = Thing(shape=gone.shape)
    n, rest = count(left, same), len(left)
    verb = "is" if n == 1 else "are"
    still = (
        f"yes, because there {verb} {NUMBERS[n]} more, and {NUMBERS[rest]} {Thing().noun(rest)} "
        "would be left."
    )
    never = f"no, because the {what} is the only {gone.shape}."
    question = f"if the {what} were taken away, would there still be {same}, and why?"
    return Turn(question, still if n else never)


def _walked(objects: Sequence[Object], dice: Dice) -> Turn:
    pool = list(objects)
    a, b = dice.take(pool, at=8), dice.take(pool, at=16)
    first, second = (Thing(o.colour, o.shape).noun() for o in (a, b))
    ways = {"right of": "right", "left of": "left", "above": "up", "below": "down"}
    how = [relation for relation in relations_between(b, a) if relation in ways]
    question = f"which way is it from the {first} to the {second}, and why?"
    if not how:
        return Turn(question, f"nowhere, because the {second} is where the {first} is.")
    turned = " and ".join(ways[relation] for relation in how)
    return Turn(question, f"{turned}, because the {second} is {' and '.join(how)} the {first}.")


_KINDS: dict[str, Callable[[Sequence[Object], int, str], tuple[Turn, ...]]] = {
    "conversation": _conversation, "detail": _detail, "reasoning": _reasoning,
}  # fmt: skip
