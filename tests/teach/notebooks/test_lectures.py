"""The lectures themselves: markers, sections, ids. Their outputs are nbval's business."""

from __future__ import annotations

from pathlib import Path

from vlcourse.teach.notebooks import lint


def test_lectures_and_notebooks_are_clean(repo: Path) -> None:
    assert lint.lint(root=repo) == []
