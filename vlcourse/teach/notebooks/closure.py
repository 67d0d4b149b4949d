"""Which files a lecture's outputs rest on: those that decide whether it is executed again.

They are the modules that the lecture imports itself, where a name that a package hands on counts as
imported from the module that defines it; the whole folder in teach/ of each exercise, claim or
module of a lecture (of `catalogue.LECTURES`) that it uses: exercises, figures, plots, claims; and the stored results and the cards of shipped models that it names. What these rest on in their
turn (the engine behind a `fit`) is not among them: the tests execute every lecture anyway.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from vlcourse.teach.catalogue import LECTURES

# The folder of each lecture's code, by the ids of its exercises and claims.
_FOLDERS = {
    entry.id: lecture.__name__
    for lecture in LECTURES
    for entry in (*lecture.EXERCISES, *lecture.CLAIMS)
}


def files(code: str, root: Path) -> list[Path]:
    """The files that ``code`` rests on, as said above. Sorted; paths under ``root``."""
    tree = ast.parse(code)
    named = set(_strings(tree))
    found: set[Path] = set()
    for module in _modules(tree, root):
        if path := _file(module, root):
            found |= {path, *_lecture(module, root)}
    for name in named & _FOLDERS.keys():
        found |= _lecture(_FOLDERS[name], root)
    data = [root / "data" / "claims" / f"{name}.json" for name in named if _plain(name)]
    data += [root / "data" / "checkpoints" / name / "card.json" for name in named if _plain(name)]
    return sorted({*found, *(path for path in data if path.is_file())})


def _modules(tree: ast.AST, root: Path) -> Iterator[str]:
    """The modules that are imported, and those that define what is used of an imported package."""
    packages: dict[str, str] = {}  # the name in this code → the package
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            if _file(inner, root):
                packages[alias.asname or alias.name] = inner
                yield inner
            else:
                yield node.module
                yield from _defined_in(node.module, alias.name, root)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if package := packages.get(node.value.id):
                yield from _defined_in(package, node.attr, root)


def _defined_in(module: str, name: str, root: Path) -> Iterator[str]:
    """The module from which a package hands on a name, if it does."""
    path = _file(module, root)
    if path is None or path.name != "__init__.py":
        return
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            if name in {alias.asname or alias.name for alias in node.names}:
                inner = f"{node.module}.{name}"
                yield inner if _file(inner, root) else node.module


def _lecture(module: str, root: Path) -> set[Path]:
    """All files of the lecture's folder that a module stands in; none for any other module."""
    lecture = ".".join(module.split(".")[:3])
    inside = lecture in _FOLDERS.values()
    return set(root.joinpath(*lecture.split(".")).rglob("*.py")) if inside else set()


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _plain(name: str) -> bool:
    return bool(name) and len(name) < 80 and all(c.isalnum() or c in "._-" for c in name)


def _file(module: str, root: Path) -> Path | None:
    if module.split(".")[0] != "vlcourse" or not all(p.isidentifier() for p in module.split(".")):
        return None
    base = root.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None
