"""What a lecture must look like, read from its source and its notebooks without running them.

nbval ignores a marker that it does not know, and compares nothing where nothing is stored; a
misspelt solution marker would hand out the answer. So near misses are errors here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from vlcourse.teach import claims
from vlcourse.teach.notebooks.build import stored_problems
from vlcourse.teach.exercise import find
from vlcourse.teach.notebooks.lecture import BEGIN
from vlcourse.teach.notebooks.lecture import CHECK
from vlcourse.teach.notebooks.lecture import END
from vlcourse.teach.notebooks.lecture import KINDS
from vlcourse.teach.notebooks.lecture import BuildError
from vlcourse.teach.notebooks.lecture import as_python
from vlcourse.teach.notebooks.lecture import lectures
from vlcourse.teach.notebooks.lecture import strip

SECTIONS = (
    "Objectives",
    "Terms",
    "Claims",
    "Scale it up",
    "Corrections",
    "Recap",
    "Quiz",
)
_OPTIONAL_IN_00 = ("Claims", "Scale it up", "Corrections")
_LEDGER = ("ledger_rows", "ledger_markdown", "table", "stored")


def lint(names: Iterable[str] | None = None, root: Path | None = None) -> list[str]:
    """Problems of the lecture sources and of the notebooks built from them, each with its place."""
    problems = []
    for entry in lectures(names, root):
        label = f"lectures/{entry.name}.py"
        try:
            cells = jupytext.reads(entry.text, fmt="py:percent").cells
        except Exception as error:
            problems.append(f"{label}: no percent notebook: {error}")
            continue
        found = [*_sections(cells, entry.name), *_cells(cells)]
        problems += [f"{label}: {problem}" for problem in found]
        for kind in KINDS:
            path = entry.notebook(kind)
            if path.is_file():
                nb = nbformat.read(path, as_version=4)
                found = [*_markers(nb.cells, built=True), *stored_problems(nb, kind)]
                problems += [f"{kind}/{path.name}: {problem}" for problem in found]
    return problems


def _sections(cells: list[NotebookNode], name: str) -> Iterator[str]:
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    first, text = (prose or [""])[0], "\n\n".join(prose)
    if not re.match(r"# \S", first):
        yield "the first cell must be Markdown and begin with the title, `# NN · Title`"
    for word in ("read", "run"):
        if not re.search(rf"\d+ minutes? to {word}", text):
            yield f"say how long it takes: `N minutes to {word}`"
    bodies = {m[1].strip(): m[2] for m in re.finditer(r"(?ms)^## (.+?)$(.*?)(?=^## |\Z)", text)}
    optional = _OPTIONAL_IN_00 if name.startswith("00") else ()
    for section in SECTIONS:
        if section not in bodies and section not in optional:
            yield f"the section `## {section}` is missing"
    if "Terms" in bodies and not re.search("[\u4e00-\u9fff]", bodies["Terms"]):
        yield "the table of terms lacks the Chinese terms"
    quiz = bodies.get("Quiz", "")
    opened, closed = quiz.count("<details"), quiz.count("</details>")
    if "Quiz" in bodies and (not opened or opened != closed):
        yield "each answer of the quiz must be folded: <details>…</details>"


def _cells(cells: list[NotebookNode]) -> Iterator[str]:
    yield from _markers(cells, built=False)
    exercises = 0
    for number, cell in _code(cells):
        where = f"code cell {number}"
        lines = cell.source.splitlines()
        try:
            strip(cell.source, blank=True)
            tree = ast.parse(as_python(cell.source))
        except (BuildError, SyntaxError) as error:
            yield f"{where}: {error}"
            continue
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        ids = [id for call in calls if _name(call) == "exercise" for id in _strings(call)]
        exercises += len(ids)
        begins = [line for line in lines if line.strip() == BEGIN]
        if ids and not begins:
            yield f"{where}: an exercise without {BEGIN!r} hands out its answer"
        if begins and not ids:
            yield f"{where}: a solution outside of an @exercise would stop the notebook"
        if any(not line[:1].isspace() for line in begins):
            yield f"{where}: {BEGIN!r} must be indented, inside the function's body"
        if ids and CHECK not in lines:
            yield f"{where}: an exercise's line is the same everywhere: mark it {CHECK!r}"
        for id in ids:
            yield from _known(lambda id=id: find(id), where)
        for call in calls:
            if _name(call) == "claim" or _name(call) in _LEDGER:
                for id in _strings(call):
                    yield from _known(lambda id=id: claims.get(id), where)
    if exercises > 6:
        yield f"{exercises} exercises, more than 6"


def _markers(cells: list[NotebookNode], built: bool) -> Iterator[str]:
    for number, cell in _code(cells):
        where = f"code cell {number}"
        for tag in cell.metadata.get("tags", []):
            if tag == "raises-exception" or tag.startswith("nbval"):
                yield (
                    f"{where}: the tag {tag!r} hides failures (it passes when nothing raises);"
                    " catch and print the exception instead"
                )
        for line in cell.source.splitlines():
            word = line.strip()
            if not word.startswith("#"):
                continue
            if re.search(r"nb[ _-]?val", word, re.I) and line != CHECK:
                yield f"{where}: {word!r} is no marker, only {CHECK!r} at the line's start is"
            if re.match(r"#+\s*(begin|end)\W*_*solution", word, re.I):
                if built:
                    yield f"{where}: {word!r} must not be left in a notebook"
                elif word not in (BEGIN, END):
                    yield f"{where}: {word!r} is no marker, write {BEGIN!r} or {END!r}"


def _code(cells: list[NotebookNode]) -> Iterator[tuple[int, NotebookNode]]:
    yield from enumerate((cell for cell in cells if cell.cell_type == "code"), start=1)


def _name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _strings(call: ast.Call) -> list[str]:
    """The strings of the first argument: itself, or the entries of a list."""
    nodes = list(ast.walk(call.args[0])) if call.args else []
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _known(look: object, where: str) -> Iterator[str]:
    assert callable(look)
    try:
        look()
    except KeyError as error:
        yield f"{where}: {error.args[0]}"
