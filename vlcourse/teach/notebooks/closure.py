"""Which files of this repository a piece of code rests on, found by reading, not by running."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# What builds and checks notebooks does not change what a cell prints.
_MACHINERY = {
    "vlcourse.cli",
    "vlcourse.teach.notebooks.build",
    "vlcourse.teach.notebooks.closure",
    "vlcourse.teach.notebooks.execute",
    "vlcourse.teach.notebooks.lecture",
    "vlcourse.teach.notebooks.lint",
}


def files(code: str, root: Path) -> list[Path]:
    """The vlcourse modules that ``code`` imports, directly or not, the checks of its exercises, and
    the stored results and model cards that it names. Sorted; paths under ``root``.
    """
    tree = ast.parse(code)
    found: dict[str, Path] = {}
    waiting = list(_imports(tree, "", root))
    named = set(_strings(tree))
    topics = {name.split(".")[0] for name in named if "." in name}
    for topic in topics:
        waiting += [f"vlcourse.teach.{topic}.exercises", f"vlcourse.teach.overview.exercises.{topic}"]
    while waiting:
        module = waiting.pop()
        path = _file(module, root)
        if path is None or module in found or module in _MACHINERY:
            continue
        found[module] = path
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        waiting += _imports(ast.parse(path.read_text(encoding="utf-8")), package, root)
        waiting.append(module.rpartition(".")[0])
    data = [root / "data" / "claims" / f"{name}.json" for name in named if _plain(name)]
    data += [root / "data" / "checkpoints" / name / "card.json" for name in named if _plain(name)]
    return sorted({*found.values(), *(path for path in data if path.is_file())})


def _imports(tree: ast.AST, package: str, root: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


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
