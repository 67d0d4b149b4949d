"""The lectures themselves: markers, sections, ids. Their outputs are nbval's business."""

from __future__ import annotations

from pathlib import Path

from vlcourse.teach.notebooks import lint
from vlcourse.teach.notebooks.lecture import lectures


def test_lectures_and_notebooks_are_clean(repo: Path) -> None:
    assert lint.lint(root=repo) == []


def test_every_lecture_is_run_in_other_orders() -> None:
    files = Path(__file__).parent.glob("test_orders_*.py")
    assert {f"test_orders_{each.name}" for each in lectures()} == {file.stem for file in files}
