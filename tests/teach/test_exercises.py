"""Every exercise: its reference passes, its blank is a blank, typical errors are refused."""

from __future__ import annotations

import inspect

import pytest

from vlcourse.teach.catalogue import LECTURES
from vlcourse.teach.checking import Exercise, Right, Wrong
from vlcourse.teach.exercise import attempt, find, line

ALL = [entry for lecture in LECTURES for entry in lecture.EXERCISES]
WRONG = [
    pytest.param(entry, wrong, id=f"{entry.id}: {wrong.name}")
    for entry in ALL
    for wrong in entry.wrong
]
each_exercise = pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.id)


def test_there_are_exercises_and_their_ids_are_unique() -> None:
    ids = [entry.id for entry in ALL]
    assert ids and len(set(ids)) == len(ids)


@each_exercise
def test_is_complete(entry: Exercise) -> None:
    assert find(entry.id) is entry
    assert entry.title and entry.difficulty in (1, 2, 3)
    assert 5 <= entry.minutes <= 15
    assert len(entry.hints) >= 2 and all(entry.hints)
    assert len(entry.wrong) >= 3
    assert len({wrong.name for wrong in entry.wrong}) == len(entry.wrong)


@each_exercise
def test_reference_passes(entry: Exercise) -> None:
    outcome = attempt(entry, entry.reference)
    assert outcome.status == "passed", line(entry, outcome)


@each_exercise
def test_blank_is_not_attempted(entry: Exercise) -> None:
    def raises(*args: object, **kwargs: object) -> None:
        raise NotImplementedError("your turn")

    def empty(*args: object, **kwargs: object) -> None:
        """Nothing yet."""

    blanks: list[object] = [raises, empty]
    if inspect.isclass(entry.reference):
        blanks = [type("Blank", (entry.reference,), {"__init__": f}) for f in blanks]
        blanks += [type("Blank", (entry.reference,), {"forward": raises})]
    for blank in blanks:
        assert attempt(entry, blank).status == "blank"
        assert line(entry, attempt(entry, blank)).startswith(f"☐ {entry.id}: not attempted")


@pytest.mark.parametrize(("entry", "wrong"), WRONG)
def test_typical_error_is_refused_with_its_hint(entry: Exercise, wrong: Wrong) -> None:
    outcome = attempt(entry, wrong.function)
    said = line(entry, outcome)
    assert outcome.status == "failed", said
    assert wrong.hint in said
    first, *hints = said.splitlines()
    assert first.startswith(f"✗ {entry.id}: ")
    assert all(hint.startswith("  Hint ") for hint in hints)


@pytest.mark.parametrize(
    ("entry", "right"),
    [
        pytest.param(entry, right, id=f"{entry.id}: {right.name}")
        for entry in ALL
        for right in entry.right
    ],
)
def test_another_right_answer_is_accepted(entry: Exercise, right: Right) -> None:
    outcome = attempt(entry, right.function)
    assert outcome.status == "passed", line(entry, outcome)
