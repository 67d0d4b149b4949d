"""Grade student notebooks: run each one and collect the lines that its exercises print."""

from __future__ import annotations

from vlcourse import VlcourseError

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

from vlcourse import paths
from vlcourse.teach.notebooks import execute

MARKS = ("✓", "✗", "☐")


class GradeError(VlcourseError):
    """A file that is not a notebook."""


@dataclass(frozen=True)
class Grade:
    """What one notebook showed: its exercise lines, and what stopped it, if so."""

    path: Path
    lines: tuple[str, ...]
    stopped: str = ""

    def __str__(self) -> str:
        marks = Counter(line[0] for line in self.lines)
        head = f"{self.path}: " + ", ".join(f"{marks[mark]} {mark}" for mark in MARKS)
        stopped = [f"  stopped early: {self.stopped.splitlines()[0]}"] if self.stopped else []
        return "\n".join([head, *(f"  {line}" for line in self.lines), *stopped])


def grade(files: Iterable[Path | str], timeout: int = 600) -> list[Grade]:
    """Run notebooks with short training runs and report each exercise: ✓ right, ✗ wrong, ☐ blank.

    Only printed lines count, not what the file stores; nothing is written. It runs the students'
    code on this machine, so grade in an account or a container that may be lost.

    Args:
        files: notebooks made from the course's ``notebooks/``.
        timeout: seconds a cell may take.

    Raises:
        GradeError: for a file that is no notebook.
    """
    return [_grade(Path(file), timeout) for file in files]


def _grade(path: Path, timeout: int) -> Grade:
    try:
        nb = nbformat.read(path, as_version=4)
    except Exception as error:
        raise GradeError(f"{path} cannot be read as a notebook: {error}") from error
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    stopped = ""
    try:
        execute.execute(nb, paths.root(), timeout, {"VLCOURSE_QUICK": "1"})
    except (execute.ExecutionFailed, CellExecutionError) as error:
        stopped = str(error)
    printed = "".join(
        output.text
        for cell in nb.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )
    lines = tuple(line for line in printed.splitlines() if line[:1] in MARKS)
    return Grade(path, lines, stopped)
