"""Lecture 00: is a split clean, and what does a guesser get?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from vlcourse.data.world import Object, Scene
from vlcourse.teach.checking import Exercise, Wrong, expect_close, expect_equal, fail

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
_CASES: tuple[tuple[str, tuple[Scene, ...], int, str], ...] = (
    (
        "scenes with no held-out pair",
        (_scene(("red", "circle")), _scene(("blue", "ring"), ("red", "star"))),
        0,
        "Colour and shape must belong to one object: look up (object.colour, object.shape).",
    ),
    (
        "two scenes, one of which shows a held-out pair",
        (_scene(("green", "ring"), _RED_RING), _scene(("green", "ring"))),
        1,
        "Look at every object of a scene, not only at the first.",
    ),
    (
        "one scene that shows two held-out pairs",
        (_scene(_RED_RING, _BLUE_STAR),),
        1,
        "Count scenes, not objects: any(…) is true once, however many objects fit.",
    ),
)


def _check_leaks(answer: Callable[[Sequence[Scene], Collection[Pair]], int]) -> None:
    for what, scenes, number, hint in _CASES:
        expect_equal(answer(scenes, _HELD_OUT), number, f"the count for {what}", hint)


def _words_apart(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    colours, shapes = {c for c, _ in held_out}, {s for _, s in held_out}
    return sum(any(o.colour in colours and o.shape in shapes for o in x.objects) for x in scenes)


def _first_object(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    return sum((x.objects[0].colour, x.objects[0].shape) in held_out for x in scenes)


def _objects(scenes: Sequence[Scene], held_out: Collection[Pair]) -> int:
    return sum((o.colour, o.shape) in held_out for x in scenes for o in x.objects)


def blind_accuracy(answers: Sequence[str]) -> float:
    """The share of right answers, 0 to 1, of a player who always gives the most frequent one."""
    return Counter(answers).most_common(1)[0][1] / len(answers)


def _check_blind_accuracy(answer: Callable[[Sequence[str]], float]) -> None:
    answers = ["1", "0", "1", "2", "1", "0", "3", "1", "2", "1"]  # "1" is right 5 times of 10
    share = answer(answers)
    if share == 1 / len(set(answers)):
        fail(
            "this is the score of a guesser who draws each answer equally often",
            "Here the guesser knows which answer is the most frequent, and always gives that one.",
        )
    if share == max(Counter(answers).values()):
        fail(
            "this is how often the answer occurs, not its share",
            "Divide by the number of answers.",
        )
    hint = "Counter(answers).most_common(1) is [(the answer, how often it occurs)]."
    expect_close(share, 0.5, "the share for ten answers, five of them '1'", hint)
    expect_close(answer(["yes", "no"]), 0.5, "the share for one 'yes' and one 'no'", hint)
    expect_close(answer(["no", "no", "no"]), 1.0, "the share when all answers are 'no'", hint)


def _uniform(answers: Sequence[str]) -> float:
    return 1 / len(set(answers))


def _how_often(answers: Sequence[str]) -> float:
    return max(Counter(answers).values())


def _rarest(answers: Sequence[str]) -> float:
    return min(Counter(answers).values()) / len(answers)


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
            Wrong("counts objects", _objects, "Count scenes"),
        ),
    ),
    Exercise(
        id="overview.blind_accuracy",
        title="What does a guesser get?",
        minutes=5,
        difficulty=1,
        reference=blind_accuracy,
        check=_check_blind_accuracy,
        hints=(
            "The guesser always says one and the same thing. Which, and how often is it right?",
            "collections.Counter counts how often each answer occurs.",
            "The largest count, divided by the number of answers.",
        ),
        wrong=(
            Wrong("every answer equally often", _uniform, "most frequent"),
            Wrong("a count, not a share", _how_often, "Divide by"),
            Wrong("the rarest answer", _rarest, "most_common"),
        ),
    ),
)
