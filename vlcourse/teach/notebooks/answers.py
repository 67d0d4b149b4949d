"""A student's answer, taken out of the notebook's cells with only what it needs to run.

Nothing is run that the answer does not use: no training cell, no plot, no cell with an error. Used
is what a fresh run would have bound before the answer: its imports, helpers and constants, what fills
these (``table[k] = v``, ``words.append(w)``), and what they use in their turn. Another exercise's name stands for the reference, so that each is graded alone.
"""

from __future__ import annotations

import ast
import dis
import linecache
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

from vlcourse import VlcourseError
from vlcourse.teach import explain

_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
_STORES = ("STORE_NAME", "STORE_GLOBAL")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class AnswerError(VlcourseError):
    """An answer that cannot be run; the message is a clause that says why."""


class NoAnswer(AnswerError):
    """The notebook defines nothing for this exercise."""


@dataclass(frozen=True)
class Statement:
    """A top-level statement, the cell that it stands in, and the names that it binds and uses."""

    node: ast.stmt
    cell: str
    exercise: str = ""

    def code(self) -> CodeType:
        """The statement compiled; an answer without the decorator that would check it."""
        if self.exercise and isinstance(self.node, Definition):
            kept = [d for d in self.node.decorator_list if not _id(d)]
            fields = {**dict(ast.iter_fields(self.node)), "decorator_list": kept}
            bare = ast.copy_location(type(self.node)(**fields), self.node)
            return compile(ast.Module([bare], []), self.cell, "exec")
        return compile(ast.Module([self.node], []), self.cell, "exec")

    def uses(self) -> set[str]:
        return _names(self.code(), _LOADS, inner=True)

    def fills(self) -> set[str]:
        """Names of which it calls a method, ``name.append(…)``, which may change what they hold."""
        if isinstance(self.node, Definition):
            return set()
        calls = [node.func for node in ast.walk(self.node) if isinstance(node, ast.Call)]
        return {_root(call) for call in calls if isinstance(call, ast.Attribute)}

    def binds(self) -> set[str]:
        """Names that it assigns, also by ``name.x = …``, ``name[i] = …``; "*" binds any."""
        found = _names(self.code(), _STORES, inner=False)
        for node in ast.walk(self.node):
            if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
                found.add(_root(node))
            elif isinstance(node, ast.alias) and node.name == "*":
                found.add("*")
        return found


def build(cells: Sequence[str], id: str, reference: Callable[[str], Any]) -> Any:
    """The function or class that the notebook's last ``@exercise(id)`` decorates.

    Args:
        cells: the sources of its code cells, as plain Python.
        id: of the exercise.
        reference: id → the right answer of another exercise that this one uses.

    Raises:
        NoAnswer: when there is none.
        AnswerError: when it, or what it needs, cannot be read or run.
    """
    statements: list[Statement] = []
    place = -1
    for number, source in enumerate(cells, start=1):
        cell = f"<code cell {number}>"
        try:
            body = ast.parse(source, cell).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if f'"{id}"' in source.replace("'", '"'):
                raise AnswerError(f"code cell {number} is not Python: {_syntax(error)}") from None
            continue
        linecache.cache[cell] = (len(source), None, source.splitlines(keepends=True), cell)
        for node in body:
            known = [_id(d) for d in node.decorator_list] if isinstance(node, Definition) else []
            statements.append(Statement(node, cell, next(filter(None, known), "")))
            if statements[-1].exercise == id:
                place = len(statements) - 1
    if place < 0:
        raise NoAnswer(f"nothing in the notebook is decorated with @exercise({id!r})")
    answer, module = statements[place], ModuleType("notebook")
    sys.modules["notebook"] = module  # dataclasses look their module up
    try:
        for statement in _needed(statements[:place], answer):
            if statement.exercise and isinstance(statement.node, Definition):
                vars(module)[statement.node.name] = reference(statement.exercise)
            else:
                exec(statement.code(), vars(module))
        exec(answer.code(), vars(module))
    except BaseException as error:  # a student's code raises what it likes
        where = _last_line(error)
        raise AnswerError(f"the code it needs stops{where}: {explain.words(error)}") from error
    assert isinstance(answer.node, Definition)
    return vars(module)[answer.node.name]


def _needed(before: Sequence[Statement], answer: Statement) -> list[Statement]:
    """The statements that the answer rests on, in their order."""
    imports = [s.binds() for s in before if isinstance(s.node, (ast.Import, ast.ImportFrom))]
    modules = set().union(*imports)  # a call of theirs fills nothing
    bound = [(s, s.binds() | (s.fills() - modules)) for s in before]
    wanted, chosen = answer.uses() | {"*"}, [False] * len(bound)
    grows = True
    while grows:
        grows = False
        for n, (statement, names) in enumerate(bound):
            if not chosen[n] and names & wanted:
                chosen[n] = grows = True
                wanted |= set() if statement.exercise else statement.uses()
    return [statement for taken, statement in zip(chosen, before, strict=True) if taken]


def _id(decorator: ast.expr) -> str:
    """The id in ``exercise("…")``, under whatever name ``exercise`` was imported."""
    match decorator:
        case ast.Call(args=[ast.Constant(value=str(id))]) if "." in id:
            return id
    return ""


def _names(code: CodeType, operations: tuple[str, ...], inner: bool) -> set[str]:
    found = {i.argval for i in dis.get_instructions(code) if i.opname in operations}
    if inner:
        for const in code.co_consts:
            if isinstance(const, CodeType):
                found |= _names(const, operations, inner)
    return found


def _root(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _syntax(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}, {error.msg}"
    return explain.words(error)


def _last_line(error: BaseException) -> str:
    """ " at line n, `source`" of the notebook's own code, or nothing."""
    trace, where = error.__traceback__, ""
    while trace:
        file, number = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if file.startswith("<code cell"):
            where = f" at {file[1:-1]}, line {number}, `{linecache.getline(file, number).strip()}`"
        trace = trace.tb_next
    return where
