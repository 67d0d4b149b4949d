"""lectures/NN_topic.py -> notebooks/NN_topic.ipynb (exercises blank) and solutions/NN_topic.ipynb.

A lecture in percent format is the one source; both notebooks are executed and stored with their
outputs. A notebook remembers what it was made from, so `build` executes only what changed and
`check` tells what is stale.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from vlcourse import files, paths
from vlcourse.teach import claims
from vlcourse.teach.notebooks import execute
from vlcourse.teach.notebooks import page
from vlcourse.teach.notebooks import readme
from vlcourse.teach.notebooks.lecture import CHECK
from vlcourse.teach.notebooks.lecture import KINDS
from vlcourse.teach.notebooks.lecture import BuildError
from vlcourse.teach.notebooks.lecture import Lecture
from vlcourse.teach.notebooks.lecture import lectures
from vlcourse.teach.notebooks.lecture import make


def build(
    names: Iterable[str] | None = None,
    force: bool = False,
    root: Path | None = None,
    timeout: int = 600,
) -> list[str]:
    """Build both notebooks of the lectures; execute those whose code changed. A line each.

    ``timeout``: seconds a cell. Returns the names that were executed. Raises BuildError on the
    first cell that fails; nothing of that notebook is stored.
    """
    executed = []
    jobs = [(x, kind) for x in lectures(names, root) for kind in KINDS]
    for n, (lecture, kind) in enumerate(jobs, start=1):
        path = lecture.notebook(kind)
        nb, old = make(lecture, kind), _read(path)
        progress = f"[{n}/{len(jobs)}] {kind}/{lecture.name}"
        if old is not None and not force and not _stale(nb, old):
            if _content(old) != _content(nb) or old.metadata.vlcourse != _stored_meta(nb, old):
                _write(path, _with_outputs(nb, old))
                print(f"{progress}: text updated, outputs kept")
            else:
                print(f"{progress}: up to date")
            continue
        print(f"{progress} …", end=" ", flush=True)
        start = time.perf_counter()
        done = _run(lecture, nb, timeout, {"VLCOURSE_QUICK": ""})  # outputs to store are full ones
        done.metadata.vlcourse["versions"] = claims.versions()
        if problems := list(stored_problems(done, kind)):
            raise BuildError(f"{kind}/{lecture.name}: " + "; ".join(problems))
        _write(path, done)
        executed.append(f"{kind}/{lecture.name}")
        print(f"{time.perf_counter() - start:.1f} s", flush=True)
    if root is None and readme.rewrite():
        print("README.md: its tables are new")
    return executed


def check(names: Iterable[str] | None = None, root: Path | None = None) -> list[str]:
    """What is wrong with the stored notebooks, in words; an empty list when all is well."""
    problems = []
    found = lectures(names, root)
    for lecture in found:
        for kind in KINDS:
            label = f"{kind}/{lecture.name}.ipynb"
            try:
                problems += [f"{label}: {p}" for p in _problems(lecture, kind)]
            except BuildError as error:
                problems.append(f"{label}: {error}")
    if names is None:
        if root is None:
            problems += [
                f"README.md: its table of {n} is old, run `vlcourse build`" for n in readme.stale()
            ]
        known = {lecture.name for lecture in found}
        for kind in KINDS:
            for path in sorted(((root or paths.root()) / kind).glob("*.ipynb")):
                if path.stem not in known:
                    problems.append(f"{kind}/{path.name}: there is no lectures/{path.stem}.py")
    return problems


def course(
    out: Path | str = "build",
    names: Iterable[str] | None = None,
    root: Path | None = None,
    timeout: int = 600,
) -> list[Path]:
    """Execute all lectures in order into ``out``: a notebook and a page each, then the ledger.

    The pages hold all they need, and ask the network for nothing.
    """
    written = []
    found = lectures(names, root)
    for n, lecture in enumerate(found, start=1):
        print(f"[{n}/{len(found)}] {lecture.name} …", end=" ", flush=True)
        start = time.perf_counter()
        done = _run(lecture, make(lecture, "solutions"), timeout)
        target = Path(out) / f"{lecture.name}.ipynb"
        _write(target, done)
        files.write_text(target.with_suffix(".html"), page.html(done, lecture.name))
        written += [target, target.with_suffix(".html")]
        print(f"{time.perf_counter() - start:.1f} s, {target.with_suffix('.html')}", flush=True)
    print("\nThe claims ledger (measured by the full experiments):")
    for row in claims.ledger_rows():
        print(row)
    return written


def _run(
    lecture: Lecture, nb: NotebookNode, timeout: int, env: dict[str, str] | None = None
) -> NotebookNode:
    try:
        return execute.execute(nb, lecture.root, timeout, env)
    except execute.ExecutionFailed as error:
        raise BuildError(f"{lecture.name}: {error}") from error


def _problems(lecture: Lecture, kind: str) -> Iterator[str]:
    nb, path = make(lecture, kind), lecture.notebook(kind)
    if not path.is_file():
        yield "missing, run `vlcourse build`"
        return
    old = _read(path)
    if old is None:
        yield "not a notebook that `vlcourse build` made"
        return
    if _content(old) != _content(nb):
        yield f"its cells differ from lectures/{lecture.name}.py, run `vlcourse build`"
    elif _stale(nb, old):
        yield "the code it uses changed since it was executed, run `vlcourse build`"
    yield from stored_problems(old, kind)


def stored_problems(nb: NotebookNode, kind: str) -> Iterator[str]:
    """What is wrong with the outputs that a notebook stores, in words."""
    wanted = "☐" if kind == "notebooks" else "✓"
    for number, cell in enumerate((c for c in nb.cells if c.cell_type == "code"), start=1):
        where = f"code cell {number}"
        if cell.execution_count is None and cell.source.strip():
            yield f"{where} was never executed"
        if any(output.output_type == "error" for output in cell.outputs):
            yield f"{where} stores an error"
        if CHECK in cell.source.splitlines() and not cell.outputs:
            yield f"{where} is checked by nbval but stores no output"
        for text in "".join(o.text for o in cell.outputs if "text" in o).splitlines():
            if text[:1] in ("✓", "✗", "☐") and text[:1] != wanted:
                yield f"{where}: {kind} should show {wanted} here, not {text!r}"


def _read(path: Path) -> NotebookNode | None:
    try:
        nb = nbformat.read(path, as_version=4)
    except Exception:  # missing, no JSON, no notebook: each is the same to us
        return None
    return nb if "vlcourse" in nb.metadata else None


def _content(nb: NotebookNode) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [(c.cell_type, c.id, c.source, dict(c.metadata)) for c in nb.cells]


def _stale(nb: NotebookNode, old: NotebookNode) -> bool:
    return bool(nb.metadata.vlcourse["code_sha256"] != old.metadata.vlcourse.get("code_sha256"))


def _stored_meta(nb: NotebookNode, old: NotebookNode) -> dict[str, Any]:
    return {**nb.metadata.vlcourse, "versions": old.metadata.vlcourse.get("versions", {})}


def _with_outputs(nb: NotebookNode, old: NotebookNode) -> NotebookNode:
    """``nb`` with the outputs of ``old``, whose code cells are the same."""
    ran = [cell for cell in old.cells if cell.cell_type == "code"]
    for cell, was in zip((c for c in nb.cells if c.cell_type == "code"), ran, strict=True):
        cell.outputs, cell.execution_count = was.outputs, was.execution_count
    nb.metadata.vlcourse = _stored_meta(nb, old)
    return nb


def _write(path: Path, nb: NotebookNode) -> None:
    nbformat.validate(nb)
    files.write_text(path, nbformat.writes(nb) + "\n")

