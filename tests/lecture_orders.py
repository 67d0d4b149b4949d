"""A reader restarts in the middle, runs cells twice and backwards, and answers in their own way.

A file tests/teach/notebooks/test_orders_NN_topic.py runs this for the lecture that it is called
after: a file each, so that xdist's workers share them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from lecture_cells import Cell, cells_of, run, sections, touched

from vlcourse.recipes import Recipe
from vlcourse.teach import capstone, exercise, yours
from vlcourse.teach.catalogue import LECTURES
from vlcourse.teach.checking import Exercise
from vlcourse.teach.notebooks.lecture import lectures

EXERCISES = {entry.id: entry for lecture in LECTURES for entry in lecture.EXERCISES}


def of(name: str) -> tuple[dict[str, Any], list[Cell]]:
    """The names that the set-up cell leaves, and the cells after it."""
    setup, cells = cells_of(*lectures([name]))
    names: dict[str, Any] = {"__name__": "__main__"}
    run(setup.blank, names, f"{name}, set-up")
    return names, cells


def solved(cells: list[Cell]) -> dict[str, Exercise]:
    """The exercises by the names of their functions."""
    return {
        cell.exercise: EXERCISES[id]
        for cell in cells
        if cell.exercise
        for id in EXERCISES
        if f'@exercise("{id}")' in cell.blank
    }


@pytest.mark.slow
class TestAnyOrder:
    @pytest.fixture
    def name(self, request: pytest.FixtureRequest) -> str:
        """The lecture that the file is called after."""
        return request.path.stem.removeprefix("test_orders_")

    @pytest.fixture(autouse=True)
    def short_and_empty(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("VLCOURSE_QUICK", "1")
        monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(yours, "passed", {})
        monkeypatch.setattr(exercise, "_failures", {})
        matplotlib.use("agg")

    def test_sections_backwards_and_their_cells_forwards_and_backwards(self, name: str) -> None:
        """So each section has run without those before it and after those behind it, each cell
        twice."""
        names, cells = of(name)
        setup = {key: id(value) for key, value in names.items() if not key.startswith("_")}
        answers = {cell.exercise for cell in cells if cell.exercise}
        for section in reversed(list(sections(cells))):
            for cell in [*section, *reversed(section)]:
                run(cell.blank, names, f"{name}, {cell.section}, cell {cell.number}")
        changed = {key for key, value in setup.items() if id(names[key]) != value} - answers
        assert not changed, f"names of the set-up cell are assigned again: {sorted(changed)}"

    def test_no_right_answer_is_followed_by_an_error(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every accepted variant, in the cells that use it, in each section.

        Capstones train two steps; that their curves are right is shown in test_capstone.py.
        """
        fit = capstone._fit

        def fit_shortly(recipe: Recipe, way: Any) -> Any:
            train = replace(recipe.train, steps=2, batch_size=4)
            return fit(replace(recipe, train=train), way)

        monkeypatch.setattr(capstone, "_fit", fit_shortly)
        start, cells = of(name)
        found = solved(cells)
        runs = 0
        for function, entry in found.items():
            for right in entry.right:
                for section in sections(cells):
                    names = {**start, function: right.function}
                    for cell in touched(section, function):
                        if cell.exercise != function:
                            where = f"{name}, {cell.section}, cell {cell.number}"
                            run(cell.solved, names, f"{where} after {right.name!r}")
                            runs += 1
        assert runs >= sum(len(entry.right) for entry in found.values())

    def test_every_exercise_has_other_right_answers(self, name: str) -> None:
        found = solved(cells_of(*lectures([name]))[1])
        assert found and all(len(entry.right) >= 3 for entry in found.values())
