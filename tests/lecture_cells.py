"""A lecture's code cells, run in this process in whatever order a reader tries."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jupytext

from vlcourse.teach.notebooks.lecture import BEGIN, Lecture, strip


@dataclass
class Cell:
    """One code cell: its section, its code with the exercise blank, and the same solved."""

    number: int
    section: str
    blank: str
    solved: str
    defines: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    functions: dict[str, set[str]] = field(default_factory=dict)  # defined here → what they use

    @property
    def exercise(self) -> str:
        """The name of the function that a student writes here; "" where there is none."""
        return next(iter(self.functions)) if self.blank != self.solved else ""


def cells_of(lecture: Lecture) -> tuple[Cell, list[Cell]]:
    """The set-up cell, and the others in order."""
    found, section = [], ""
    for cell in jupytext.reads(lecture.text, fmt="py:percent").cells:
        if cell.cell_type == "markdown":
            heads = [line for line in cell.source.splitlines() if line.startswith("## ")]
            section = heads[-1] if heads else section
        elif cell.cell_type == "code":
            blank, solved = strip(cell.source, blank=True), strip(cell.source, blank=False)
            assert (blank != solved) == (BEGIN in cell.source)
            found.append(_named(Cell(len(found) + 1, section, blank, solved)))
    return found[0], found[1:]


def sections(cells: list[Cell]) -> Iterator[list[Cell]]:
    """The cells of each section, in order."""
    for name in dict.fromkeys(cell.section for cell in cells):
        yield [cell for cell in cells if cell.section == name]


def touched(cells: list[Cell], name: str) -> list[Cell]:
    """Those cells of a section that use ``name``, themselves or through a function, in order,
    and those that define what they need."""
    names = {name}
    for cell in cells:
        names |= {f for f, uses in cell.functions.items() if uses & names and f != name}
    wanted = {cell.number for cell in cells if cell.uses & names}
    needed = set().union(*(cell.uses for cell in cells if cell.number in wanted))
    for cell in reversed(cells):
        if cell.number in wanted or cell.defines & needed:
            wanted.add(cell.number)
            needed |= cell.uses
    return [cell for cell in cells if cell.number in wanted]


def run(code: str, names: dict[str, Any], where: str) -> None:
    """Run a cell in the notebook's names. A failure says where it was."""
    names.setdefault("display", lambda *_: None)
    try:
        exec(compile(code, where, "exec"), names)
    except Exception as error:
        error.add_note(f"in {where}:\n{code}")
        raise


def _named(cell: Cell) -> Cell:
    tree = ast.parse(cell.solved)
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            cell.functions[node.name] = _loaded(node)
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            cell.defines.add(inner.id)
    cell.defines |= cell.functions.keys()
    cell.uses = _loaded(tree) - set(dir(builtins))
    return cell


def _loaded(tree: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
