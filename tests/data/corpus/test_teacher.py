"""A teacher that sees no pictures: what it writes comes from captions and boxes, and is true."""

from __future__ import annotations

import re

import pytest

from vlcourse.data.corpus.teacher import (
    VISUAL_KINDS,
    context_of,
    objects_in,
    place,
    visual_instruction,
)
from vlcourse.data.world.facts import Object, Relation, Thing, count, holds
from vlcourse.data.world.scene import Scene

SCENES = [Scene.sample(seed) for seed in range(150)]


def test_the_teacher_reads_captions_and_boxes() -> None:
    for scene in SCENES:
        context = context_of(scene)
        captions, boxes = (part.splitlines() for part in context.split("\n\n"))
        assert set(captions) <= set(map(str, scene.captions())) and len(captions) == 5
        assert len(boxes) == len(scene.objects)
        for found, obj in zip(objects_in(context), scene.objects, strict=True):
            assert (found.colour, found.shape, found.size) == (obj.colour, obj.shape, obj.size)
            assert (
                abs(found.x - obj.x) + abs(found.y - obj.y) + abs(found.radius - obj.radius) < 4e-4
            )


@pytest.mark.parametrize("kind", VISUAL_KINDS)
def test_what_it_writes_depends_on_what_it_reads_alone(kind: str) -> None:
    context = context_of(SCENES[0])
    written = {visual_instruction(context, key, kind) for key in range(30)}
    assert len(written) > 2
    captions, boxes = context.split("\n\n")
    assert visual_instruction(boxes, 3, kind) == visual_instruction(context, 3, kind)
    assert visual_instruction(captions, 3, "detail")[0].answer.startswith("there are zero")


HOW = r"(?:above|below|left of|right of)"
RELATION = re.compile(rf"the (\w+) (\w+) is ({HOW}(?: and {HOW})*) (?:of )?the (\w+) (\w+)")


def stated(text: str) -> list[Relation]:
    found = []
    for c1, s1, how, c2, s2 in RELATION.findall(text):
        found += [Relation(Thing(c1, s1), one, Thing(c2, s2)) for one in how.split(" and ")]
    return found


@pytest.mark.parametrize("kind", VISUAL_KINDS)
def test_every_relation_that_it_states_is_true(kind: str) -> None:
    n = 0
    for scene in SCENES:
        for turn in visual_instruction(context_of(scene), scene.seed, kind):
            for fact in stated(turn.answer):
                assert holds(fact, scene.objects), (turn, scene)
                n += 1
    assert n > 50 or kind == "conversation"


def test_a_conversation_has_turns_of_different_kinds_with_true_answers() -> None:
    for scene in SCENES:
        turns = visual_instruction(context_of(scene), scene.seed, "conversation")
        assert len(turns) == 3
        asked = {question.text: question.answer for question in scene.questions()}
        for turn in turns:
            if turn.instruction in asked:
                assert re.search(rf"\b{asked[turn.instruction]}\b", turn.answer)


def test_a_detailed_description_names_every_object_with_its_place() -> None:
    for scene in SCENES:
        (turn,) = visual_instruction(context_of(scene), scene.seed, "detail")
        for obj in scene.objects:
            thing = Thing(obj.colour, obj.shape, obj.size)
            assert f"{thing} is {place(obj)}." in turn.answer
    corner = Object("red", "ring", "small", 0.2, 0.85, 0.1)
    assert place(corner) == "at the bottom left"
    assert place(Object("red", "ring", "small", 0.5, 0.5, 0.1)) == "in the middle"


def test_what_would_be_left() -> None:
    seen = set()
    for scene in SCENES:
        (turn,) = visual_instruction(context_of(scene), scene.seed, "reasoning")
        if found := re.match(r"if the (\w+) (\w+) were taken away", turn.instruction):
            left = [o for o in scene.objects if (o.colour, o.shape) != found.groups()]
            still = count(left, Thing(shape=found[2])) > 0
            assert turn.answer.startswith("yes" if still else "no")
            seen.add(still)
    assert seen == {True, False}
