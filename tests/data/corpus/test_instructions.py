"""Instructions about the toy world: six kinds, right responses, and no name of the held out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from vlcourse.data.corpus.instructions import (
    INSTRUCTION_KINDS,
    TEMPLATES,
    Instruction,
    Instructions,
    in_order,
    instructed,
)
from vlcourse.data.world.facts import Object, Thing, count
from vlcourse.data.world.words import COLOURS, HELD_OUT, SHAPES

SCENE = (
    Object("red", "circle", "small", 0.2, 0.2, 0.1),
    Object("blue", "circle", "large", 0.8, 0.3, 0.18),
    Object("red", "square", "large", 0.5, 0.7, 0.18),
)


EVEN = (SCENE[0], SCENE[2])


def every(kind: str, objects: Sequence[Object] = SCENE) -> list[Instruction]:
    return [one for key in range(200) if (one := instructed(objects, key, kind))]


def matched(one: Instruction, *templates: str) -> list[str]:
    """What fills the slots of the template that the instruction was made with."""
    for template in templates:
        pattern = re.escape(template).replace(r"\{\}", "(.+)")
        if found := re.fullmatch(pattern, one.text):
            return list(found.groups())
    raise AssertionError(one.text)


USED = {"describe": ("colour", "shape"), "form": ("sentence",)}


@pytest.mark.parametrize("kind", INSTRUCTION_KINDS)
def test_all_templates_are_used(kind: str) -> None:
    templates = [t for name in USED.get(kind, (kind,)) for t in TEMPLATES[name]]
    used = Counter()
    for one in every(kind):
        assert one.kind == kind
        patterns = {t: re.escape(t).replace(r"\{\}", ".+") for t in templates}
        used[max((t for t in templates if re.fullmatch(patterns[t], one.text)), key=len)] += 1
    assert set(used) == set(templates)


def test_things_are_described_that_one_word_means() -> None:
    found = set()
    for one in every("describe"):
        (noun,) = matched(one, *reversed(TEMPLATES["colour"]), *reversed(TEMPLATES["shape"]))
        found.add((noun.removesuffix(" here"), "colour" in one.text, one.response))
    assert found == {("square", True, "red"), ("blue object", False, "circle")}


def test_counts_also_of_what_is_not_there() -> None:
    numbers = Counter()
    for one in every("count"):
        (noun,) = matched(one, *TEMPLATES["count"])
        things = [*(Thing(shape=s) for s in SHAPES), *(Thing(c) for c in COLOURS)]
        thing = next(t for t in things if t.noun(2) == noun)
        assert int(one.response) == count(SCENE, thing)
        numbers[int(one.response)] += 1
    assert set(numbers) == {0, 1, 2}


def test_lists_keep_the_order() -> None:
    found = {(matched(one, *TEMPLATES["list"])[0], one.response) for one in every("list")}
    assert found == {("colours", "red, blue, red"), ("shapes", "circle, circle, square")}


def test_comparisons_come_out_both_ways_and_equal_ones_are_no() -> None:
    outcomes = Counter()
    asked = [(scene, one) for scene in (SCENE, EVEN) for one in every("compare", scene)]
    for scene, one in asked:
        first, second = matched(one, *reversed(TEMPLATES["compare"]))
        n = [sum(o.shape in noun or o.colour in noun for o in scene) for noun in (first, second)]
        assert one.response == ("yes" if n[0] > n[1] else "no")
        outcomes[(n[0] > n[1]) - (n[0] < n[1])] += 1
    assert min(outcomes[i] for i in (-1, 0, 1)) > 20


def test_a_form_is_a_sentence() -> None:
    assert {one.response for one in every("form")} == {
        "the square is red", "the blue object is a circle",
    }  # fmt: skip
    assert all("all the words" in one.text for one in every("form"))


def test_what_is_not_there_is_refused_and_what_is_there_is_not() -> None:
    answers = Counter()
    for one in every("refuse"):
        (thing,) = matched(one, *reversed(TEMPLATES["refuse"]))
        there = any(thing.endswith(f" {o.colour} {o.shape}") for o in SCENE)
        assert one.response == ("yes" if there else "no")
        answers[one.response] += 1
        assert not any(f"{colour} {shape}" in one.text for colour, shape in HELD_OUT)
    assert min(answers.values()) > 60


def test_scenes_are_told_and_asked_about_in_turns() -> None:
    data = Instructions("train", 200, turns=3)
    samples = data.__getitems__(range(200))
    assert data[7] == samples[7]
    kinds = Counter(one.kind for sample in samples for one in sample["instructions"])
    assert set(kinds) == set(INSTRUCTION_KINDS) and min(kinds.values()) > 50
    for sample in samples:
        told, *rest = sample["parts"]
        assert not told[1] and len(rest) == 6
        assert [learn for _, learn in rest] == [False, True] * 3
        order = in_order(sample["scene"].objects, told[0])
        for one in sample["instructions"]:
            if one.kind == "list" and "shapes" in one.text:
                assert one.response == ", ".join(o.shape for o in order)
        text = sample["text"]
        assert not any(f"{colour} {shape}" in text for colour, shape in HELD_OUT)


def test_scenes_are_shown_and_lists_go_from_left_to_right() -> None:
    samples = Instructions("heldout", 60, images=True, kinds=("list",)).__getitems__(range(60))
    for sample in samples:
        assert sample["image"].shape == (3, 32, 32) and len(sample["parts"]) == 2
        objects = sorted(sample["scene"].objects, key=lambda obj: obj.x)
        (one,) = sample["instructions"]
        if "shape" in one.text:
            assert one.response == ", ".join(o.shape for o in objects)
    with pytest.raises(ValueError, match="turns=0"):
        Instructions(turns=0)
