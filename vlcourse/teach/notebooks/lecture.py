"""One lecture: its percent source, and the notebook that the source asks for, not yet executed."""

from __future__ import annotations

from vlcourse import VlcourseError

from vlcourse.names import nearest

import hashlib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from vlcourse import paths
from vlcourse.teach.notebooks import closure

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
KINDS = ("solutions", "notebooks")
CHECK = "# NBVAL_CHECK_OUTPUT"
MORE = "## More · "
"""Sections that a first reader can do without: folded, and no part of the core."""
MAY_FAIL = "raises-exception"
"""The tag of a cell that a student writes: an error in it does not stop "run all"."""


class BuildError(VlcourseError):
    """A lecture that cannot be built or executed; the message says which, where and why."""


@dataclass(frozen=True)
class Lecture:
    """One lecture source and what its two notebooks are made from."""

    path: Path
    root: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def notebook(self, kind: str) -> Path:
        """Where the notebook of this kind is stored."""
        return self.root / kind / f"{self.name}.ipynb"


def lectures(names: Iterable[str] | None = None, root: Path | None = None) -> list[Lecture]:
    """The lectures in order. A name is "01_clip", "01" or "clip"; BuildError on an unknown one."""
    root = root or paths.root()
    found = [Lecture(p, root) for p in sorted((root / "lectures").glob("[0-9][0-9]_*.py"))]
    if names is None:
        return found
    chosen = []
    for name in names:
        stem = name.removesuffix(".py").removesuffix(".ipynb")
        hits = [x for x in found if stem in (x.name, x.name[:2], x.name[3:])]
        if not hits:
            known = [x.name for x in found]
            close = nearest(stem, known + [k[3:] for k in known])
            advice = f"did you mean {close!r}?" if close else f"there are {', '.join(known)}"
            raise BuildError(f"there is no lecture {name!r}; {advice}")
        chosen += hits
    return chosen


def make(lecture: Lecture, kind: str) -> NotebookNode:
    """The notebook of this kind without outputs, as the lecture's source wants it."""
    try:
        cells = jupytext.reads(lecture.text, fmt="py:percent").cells
    except Exception as error:
        raise BuildError(f"{lecture.name}: the source is no percent notebook: {error}") from error
    blank = kind == "notebooks"
    links = _links(lecture, kind)
    sources = [("markdown", links, {}), ("code", _setup(lecture.root), {"tags": ["setup"]})]
    for cell in cells:
        about: dict[str, Any] = {}
        if "tags" in cell.metadata:
            about["tags"] = [*cell.metadata["tags"]]
        text = cell.source
        if cell.cell_type == "code":
            text = strip(text, blank, f"{lecture.name}: ")
            if blank and BEGIN in cell.source:
                about = {"tags": [*about.get("tags", []), MAY_FAIL]}
        elif text.startswith(MORE):
            about["jp-MarkdownHeadingCollapsed"] = True
        sources.append((cell.cell_type, text, about))
    nb = new_notebook()
    seen: dict[str, int] = {}
    for cell_type, text, about in sources:
        new = new_code_cell if cell_type == "code" else new_markdown_cell
        key = hashlib.sha256(f"{cell_type}\n{text}".encode()).hexdigest()[:12]
        seen[key] = seen.get(key, 0) + 1
        nb.cells.append(new(text, id=f"{key}-{seen[key]}", metadata=about))
    nb.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        vlcourse={
            "source_sha256": hashlib.sha256(lecture.text.encode()).hexdigest(),
            "code_sha256": code_sha256(lecture, nb),
        },
    )
    return nb


def core_words(cells: Iterable[NotebookNode]) -> int:
    """Words of the Markdown that a first reader reads: all sections but those under `MORE`."""
    words, core = 0, True
    for cell in cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("## "):
                core = not line.startswith(MORE)
            words += len(line.split()) if core else 0
    return words


def strip(text: str, blank: bool, where: str = "") -> str:
    """A code cell without its markers: each solution kept, or ``blank``: replaced by a raise."""
    out: list[str] = []
    inside: str | None = None
    for line in text.splitlines():
        word, indent = line.strip(), line[: len(line) - len(line.lstrip())]
        if word == BEGIN:
            if inside is not None:
                raise BuildError(f"{where}a solution begins inside another one")
            inside = indent
            if blank:
                out.append(f'{indent}raise NotImplementedError("your turn")')
        elif word == END:
            if inside is None:
                raise BuildError(f"{where}{END!r} without {BEGIN!r} before it")
            inside = None
        elif inside is None or not blank:
            out.append(line)
    if inside is not None:
        raise BuildError(f"{where}{BEGIN!r} without {END!r} after it")
    return "\n".join(out)


def code_sha256(lecture: Lecture, nb: NotebookNode) -> str:
    """A hash of the code cells and of what `closure.files` says that their outputs rest on."""
    code = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "code")
    digest = hashlib.sha256(code.encode())
    for path in closure.files(as_python(code), lecture.root):
        digest.update(path.relative_to(lecture.root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _links(lecture: Lecture, kind: str) -> str:
    url = _repository(lecture.root)
    file = f"{kind}/{lecture.name}.ipynb"
    if not (match := re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", url)):
        return f"[The course]({url})"
    repo = match[1]
    colab, binder = "https://colab.research.google.com", "https://mybinder.org"
    badges = (  # offline, the alternative texts stand in for the pictures
        f"[![Open in Colab]({colab}/assets/colab-badge.svg)]",
        f"({colab}/github/{repo}/blob/main/{file})",
        f" [![Open in Binder]({binder}/badge_logo.svg)]",
        f"({binder}/v2/gh/{repo}/main?labpath={file})",
        f" [The course]({url})",
    )
    return "".join(badges)


def _setup(root: Path) -> str:
    return (
        "try:\n    import vlcourse  # the course's library\nexcept ImportError:\n"
        f'    %pip install -q "vlcourse @ git+{_repository(root)}"'
    )


def _repository(root: Path) -> str:
    try:
        with (root / "pyproject.toml").open("rb") as file:
            url: str = tomllib.load(file)["project"]["urls"]["Repository"]
    except (OSError, KeyError) as error:
        raise BuildError(
            f"{root / 'pyproject.toml'} must give [project.urls] Repository, for the links"
        ) from error
    return url.removesuffix("/").removesuffix(".git")


def as_python(code: str) -> str:
    """A notebook's code as plain Python: lines of magics become ``pass``."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE)
