"""The house: what stands at the root, and that imports point one way, without a circle."""

from __future__ import annotations

import ast
import os
import runpy
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlcourse.teach.catalogue import LECTURES

ROOT = {
    "__init__", "__main__", "cli", "doctor", "overrides", "paths", "zoo", "losses", "files",
    "names",
}  # fmt: skip
# From the bottom up; a module imports only from its own storey and those below it.
STOREYS = (
    ("paths", "names", "files"),
    ("layers", "losses"),
    ("models",),
    ("weights", "generate", "tokenizers"),
    ("data",),
    ("engine",),
    ("evals",),
    ("recipes", "overrides"),
    ("zoo",),
    ("jobs", "chat"),
    ("teach", "doctor"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
STOREY = {name: number for number, names in enumerate(STOREYS) for name in names}


def modules(package: Path) -> dict[str, Path]:
    """Every module under its dotted name; a package under that of its folder."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the house that a file names, inside functions and for type checks too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


@pytest.fixture(scope="module")
def graph(repo: Path) -> dict[str, set[str]]:
    known = modules(repo / "vlcourse")
    # A package that names its own module does so to hand it on, and "vlcourse" is the version.
    return {
        name: {other for other in imports(path, known) if other not in (name, "vlcourse")}
        for name, path in known.items()
    }


def test_the_root_holds_only_its_own(repo: Path) -> None:
    assert {path.stem for path in (repo / "vlcourse").glob("*.py")} == ROOT


def test_no_circle(graph: dict[str, set[str]]) -> None:
    assert len(graph) > 100 and sum(map(len, graph.values())) > 300
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        raise AssertionError(" → ".join(reversed(circle.args[1]))) from None


def test_imports_point_one_way(graph: dict[str, set[str]]) -> None:
    def storey(name: str) -> int:
        return STOREY[name.split(".")[1]]

    wrong = [
        f"{name} → {other}"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if name != "vlcourse" and storey(other) > storey(name)
    ]
    assert not wrong, wrong


def test_a_circle_and_an_arrow_upwards_are_seen(tmp_path: Path) -> None:
    package = tmp_path / "vlcourse"
    package.mkdir()
    (package / "a.py").write_text("def f():\n    from vlcourse import b\n")
    (package / "b.py").write_text("if TYPE_CHECKING:\n    from vlcourse.a import f\n")
    (package / "__init__.py").write_text("")
    known = modules(package)
    edges = {name: set(imports(path, known)) for name, path in known.items()}
    assert edges["vlcourse.a"] == {"vlcourse.b"} and edges["vlcourse.b"] == {"vlcourse.a"}
    with pytest.raises(CycleError):
        TopologicalSorter(edges).prepare()


def test_every_lecture_folder_is_in_the_catalogue(repo: Path) -> None:
    teach = repo / "vlcourse" / "teach"
    folders = {path.parents[1].name for path in teach.glob("*/exercises/__init__.py")}
    assert {lecture.__name__.rpartition(".")[2] for lecture in LECTURES} == folders


def test_solutions_run_in_full_and_before_the_blank_notebooks_which_run_in_short(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLCOURSE_QUICK", "")
    hooks = runpy.run_path(str(repo / "conftest.py"))
    cells = {"notebooks/a": 3, "notebooks/b": 1, "solutions/a": 1, "solutions/b": 3}
    items = [SimpleNamespace(path=repo / f"{n}.ipynb") for n, k in cells.items() for _ in range(k)]
    hooks["pytest_collection_modifyitems"](items)
    order, quick = [], {}
    for item in items:
        hooks["pytest_runtest_setup"](item)
        order.append(f"{item.path.parent.name}/{item.path.stem}")
        quick[order[-1]] = os.environ["VLCOURSE_QUICK"]
    assert list(dict.fromkeys(order)) == [
        "solutions/b",
        "solutions/a",
        "notebooks/a",
        "notebooks/b",
    ]
    assert quick == {name: "1" if name.startswith("notebooks") else "" for name in cells}
