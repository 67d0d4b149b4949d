"""The two tables of README.md that are made from what they describe: lectures and claims."""

from __future__ import annotations

import re
from pathlib import Path

from vlcourse import paths
from vlcourse.teach import claims
from vlcourse.teach.notebooks.lecture import Lecture
from vlcourse.teach.notebooks.lecture import lectures


def tables(root: Path | None = None) -> dict[str, str]:
    """The tables as Markdown, by the name of their block."""
    return {"lectures": lectures_markdown(root), "claims": claims.ledger_markdown()}


def rewrite(root: Path | None = None) -> bool:
    """Bring the tables in README.md up to date; True if one changed."""
    path = (root or paths.root()) / "README.md"
    changed = [claims.rewrite_block(path, name, text) for name, text in tables(root).items()]
    return any(changed)


def stale(root: Path | None = None) -> list[str]:
    """The blocks of README.md that do not show what they should."""
    text = ((root or paths.root()) / "README.md").read_text(encoding="utf-8")
    return [name for name, table in tables(root).items() if table not in text]


def lectures_markdown(root: Path | None = None) -> str:
    """One row a lecture: its notebook, its exercises, minutes to read and to run."""
    lines = ["| lecture | exercises | to read | to run, two cores |", "|---|---|---|---|"]
    return "\n".join(lines + [_row(lecture) for lecture in lectures(root=root)])


def _row(lecture: Lecture) -> str:
    title = re.search(r"^# # (.+)$", lecture.text, re.MULTILINE)
    read = re.search(r"(\d+) minutes? to read", lecture.text)
    run = re.search(r"(\d+) minutes? to run", lecture.text)
    exercises = len(re.findall(r"^@exercise\(", lecture.text, re.MULTILINE))
    name = title[1] if title else lecture.name
    links = f"[{name}](notebooks/{lecture.name}.ipynb) ([answers](solutions/{lecture.name}.ipynb))"
    minutes = [f"{found[1]} min" if found else "—" for found in (read, run)]
    return f"| {links} | {exercises} | {minutes[0]} | {minutes[1]} |"
