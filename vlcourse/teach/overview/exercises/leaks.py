"""Lecture 00: is a split clean?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from vlcourse.data.world import Object, Scene
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_equal, fail

Pair = tuple[str, str]


def leaks(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    """How many scenes show at least one (colour, shape) pair of ``held_out``."""
    return sum(any((o.colour, o.shape) in held_out for o in scene.objects) for scene in scenes)


def _scene(*pairs: Pair) -> Scene:
    return Scene(
        tuple(Object(*pair, "small", 0.2 + 0.2 * i, 0.5, 0.1) for i, pair in enumerate(pairs))
    )


_RED_RING, _BLUE_STAR = ("red", "ring"), ("blue", "star")
_HELD_OUT = (_RED_RING, _BLUE_STAR)
_CLEAN = _scene(("green", "ring"))
_CASES: tuple[tuple[str, tuple[Scene, ...], int, str], ...] = (
    (
        "scenes with no held-out pair",
        (_scene(("red", "circle")), _scene(("blue", "ring"), ("red", "star"))),
        0,
        "Colour and shape must belong to one object: look up (object.colour, object.shape).",
    ),
    (
        "two scenes, one of which shows a held-out pair",
        (_scene(("green", "ring"), _RED_RING), _CLEAN),
        1,
        "Look at every object of a scene, not only at the first.",
    ),
    (
        "a scene whose first object has a held-out pair, not its last",
        (_scene(_RED_RING, ("green", "ring")), _CLEAN),
        1,
        "One such object is enough: any, not all, and not the last one's answer.",
    ),
    (
        "one scene that shows two held-out pairs",
        (_scene(_RED_RING, _BLUE_STAR),),
        1,
        "Count scenes, not objects: any(…) is true once, however many objects fit.",
    ),
    (
        "five scenes, three of which show a held-out pair",
        (_scene(_RED_RING), _CLEAN, _scene(_BLUE_STAR), _CLEAN, _scene(_RED_RING)),
        3,
        "Go on after the first such scene, and count the same pair again: sum over the scenes.",
    ),
)


def _check_leaks(answer: Callable[[Sequence[Scene], Collection[Pair]], int]) -> None:
    for what, scenes, number, hint in _CASES:
        value: Any = call(answer, list(scenes), list(_HELD_OUT))
        said = f"the count for {what}"
        if isinstance(value, bool):
            fail(
                f"{said} is {value}: this says whether, not how many",
                "A number is wanted: add up one True for each scene, sum(any(…) for scene in …).",
            )
        if isinstance(value, (list, tuple, set)):
            fail(f"{said} is a {type(value).__name__}", "Return how many they are: len(…).")
        if number and value == number / len(scenes) != number:
            fail(f"{said} is a share of the scenes", "A count is wanted: do not divide.")
        expect_equal(value, number, said, hint)


def _words_apart(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    colours, shapes = {c for c, _ in held_out}, {s for _, s in held_out}
    return sum(any(o.colour in colours and o.shape in shapes for o in x.objects) for x in scenes)


def _first_object(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    return sum((x.objects[0].colour, x.objects[0].shape) in held_out for x in scenes)


def _last_object(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    return sum((x.objects[-1].colour, x.objects[-1].shape) in held_out for x in scenes)


def _all_objects(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    pairs = [[(o.colour, o.shape) for o in x.objects] for x in scenes]
    return sum(any(p in held_out for p in x) and all(p in held_out for p in x) for x in pairs)


def _objects(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    return sum((o.colour, o.shape) in held_out for x in scenes for o in x.objects)


def _different_pairs(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    return min(2, leaks(scenes, held_out))  # as a set of the pairs that were seen gives


def _whether(scenes: Sequence[Scene], held_out: Collection[Pair]) -> bool:
    return leaks(scenes, held_out) > 0


def _share_of_scenes(scenes: Sequence[Scene], held_out: Collection[Pair]) -> float:
    return leaks(scenes, held_out) / len(scenes)


def _which(scenes: Sequence[Scene], held_out: Collection[Pair]) -> list[Scene]:
    return [scene for scene in scenes if leaks([scene], held_out)]


def _by_loops(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    count = 0
    for scene in scenes:
        for o in scene.objects:
            if (o.colour, o.shape) in held_out:
                count += 1
                break
    return count


def _by_sets(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    pairs = ({(o.colour, o.shape) for o in scene.objects} for scene in scenes)
    return sum(1 for seen in pairs if not seen.isdisjoint(held_out))


def _by_length(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    return len(_which(scenes, set(held_out)))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="overview.leaks",
        title="Is the split clean?",
        minutes=5,
        difficulty=1,
        reference=leaks,
        check=_check_leaks,
        hints=(
            "For each scene ask one question: does any of its objects have a held-out pair?",
            "sum(condition for scene in scenes) counts the scenes for which a condition is true.",
            "`any((o.colour, o.shape) in held_out for o in scene.objects)` is that condition.",
        ),
        wrong=(
            Wrong("colours and shapes apart", _words_apart, "belong to one object"),
            Wrong("the first object only", _first_object, "every object"),
            Wrong("the last object only", _last_object, "any, not all"),
            Wrong("all objects", _all_objects, "every object"),
            Wrong("counts objects", _objects, "Count scenes"),
            Wrong("counts different pairs", _different_pairs, "count the same pair again"),
            Wrong("whether, not how many", _whether, "A number is wanted"),
            Wrong("a share, not a count", _share_of_scenes, "do not divide"),
            Wrong("the scenes themselves", _which, "len(…)"),
        ),
        right=(
            Right("two loops", _by_loops),
            Right("sets", _by_sets),
            Right("the length of a list", _by_length),
        ),
    ),
)
