"""``@exercise("clip.itc_loss")``: check the student's code, say how it went, go on with what works.

The first line starts with ✓ (right), ✗ (wrong: what; a hint on each line below, and one more with
each further failing attempt in the same session) or ☐ (not attempted). The decorator returns the
student's function when it passes, otherwise the reference, so a lecture always runs to its end.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import os
import random
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any, Literal

import numpy as np
import torch

from vlcourse.names import no_such
from vlcourse.teach import explain, yours
from vlcourse.teach.catalogue import LECTURES
from vlcourse.teach.checking import CheckFailed, Exercise, NotAttempted
from vlcourse.teach.limit import TooLong, within

SECONDS = 10
"""What an answer and its checks may take; the slowest right one takes less than a second."""


@dataclass(frozen=True)
class Outcome:
    """What the checks said: ``what`` is wrong and the ladder of hints, most specific first."""

    status: Literal["passed", "failed", "blank"]
    what: str = ""
    hints: tuple[str, ...] = ()


_failures: dict[str, int] = {}  # failing attempts in this session, by exercise


def exercise(id: str) -> Callable[[Any], Any]:
    """Decorate a function or a class with the exercise's ``id``.

    Prints how it went. Returns the decorated object if it passes the checks, else the reference.
    Raises KeyError, with the nearest match, on an unknown id.
    """
    entry = find(id)

    def decorate(candidate: Any) -> Any:
        outcome = attempt(entry, candidate)
        yours.passed.pop(id, None)  # the last attempt counts
        if outcome.status == "passed":
            yours.passed[id] = candidate
        if outcome.status == "failed":
            _failures[id] = _failures.get(id, 0) + 1
        print(line(entry, outcome, _failures.get(id, 1)))
        return answer(id)

    return decorate


def answer(id: str) -> Any:
    """What a lecture goes on with: the student's function if it passed last, else the reference.

    A lecture's first code cell takes its names from here, so that its cells run in any order.
    """
    return yours.pick(id, find(id).reference)


def is_yours(id: str) -> bool:
    """True when the student's own answer passed, the last time it was tried in this session."""
    find(id)
    return id in yours.passed


def find(id: str) -> Exercise:
    """The exercise ``id`` ("topic.name"); KeyError with the nearest match when there is none."""
    known = {entry.id: entry for lecture in LECTURES for entry in lecture.EXERCISES}
    if id not in known:
        raise KeyError(no_such("exercise", id, known))
    return known[id]


def line(entry: Exercise, outcome: Outcome, attempts: int = 1) -> str:
    """What `exercise` prints: the n-th failing attempt shows the first n hints, a line each."""
    if outcome.status == "passed":
        return f"✓ {entry.id}: right, going on with your version"
    if outcome.status == "blank":
        return f"☐ {entry.id}: not attempted yet, going on with the reference"
    parts = [f"✗ {entry.id}: {outcome.what.rstrip('.')}."]
    shown = outcome.hints[: max(attempts, 1)]
    parts += [f"  Hint {n}: {hint}" for n, hint in enumerate(shown, start=1)]
    return "\n".join(parts)


def attempt(entry: Exercise, candidate: Any) -> Outcome:
    """Run the checks on ``candidate`` without printing; random and global state stay untouched."""
    codes = _codes(candidate)
    if _is_blank(candidate):
        return Outcome("blank")
    with _isolated():
        try:
            with within(SECONDS):
                entry.check(candidate if inspect.isclass(candidate) else _watched(candidate))
        except NotAttempted:
            return Outcome("blank")
        except CheckFailed as failed:
            hints = dict.fromkeys([failed.hint, *entry.hints])
            return Outcome("failed", failed.what, tuple(h for h in hints if h))
        except (Exception, SystemExit) as error:
            if isinstance(error, NotImplementedError) and explain.raised_in(error, codes):
                return Outcome("blank")
            where = explain.line_of(error, codes)
            said = explain.words(error)
            if where:
                return Outcome("failed", f"your code stops at {where}: {said}", entry.hints)
            return Outcome("failed", f"the check could not use your answer: {said}", entry.hints)
        except (TooLong, KeyboardInterrupt) as error:
            stopped = f"after {SECONDS} s it was stopped"
            if isinstance(error, KeyboardInterrupt):
                stopped = "you stopped it"
            where = explain.line_of(error, codes)
            what = f"your loop does not end: {stopped}" + (f" at {where}" if where else "")
            hint = (
                "What must become true for the loop to stop, and does each round bring it nearer?"
            )
            return Outcome("failed", what, (hint, *entry.hints))
    return Outcome("passed")


def _watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, telling a forgotten ``return`` and a blank from an answer."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if result is Ellipsis or (result is None and _returns_something(function)):
            raise NotAttempted
        if result is None:
            raise CheckFailed("your function ends without `return`", "Return what you computed.")
        return result

    return call


def _functions(candidate: Any) -> list[Any]:
    members = list(vars(candidate).values()) if inspect.isclass(candidate) else [candidate]
    plain = [m.__func__ if isinstance(m, (staticmethod, classmethod)) else m for m in members]
    plain = [m.fget if isinstance(m, property) else m for m in plain]
    return [f for m in plain if inspect.isfunction(f := inspect.unwrap(m) if callable(m) else m)]


def _codes(candidate: Any) -> set[CodeType]:
    found: set[CodeType] = set()
    waiting = [function.__code__ for function in _functions(candidate)]
    while waiting:
        code = waiting.pop()
        found.add(code)
        waiting += [const for const in code.co_consts if isinstance(const, CodeType)]
    return found


def _tree(function: Any) -> ast.FunctionDef | None:
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # no source, or a lambda inside a call
        return None
    return node if isinstance(node, ast.FunctionDef) else None


def _is_blank(candidate: Any) -> bool:
    """True when a body (of a class: that of any method) is only a docstring or ``...``."""
    for function in _functions(candidate):
        tree = _tree(function)
        if tree is not None and all(
            isinstance(s, ast.Pass)
            or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            for s in tree.body
        ):
            return True
    return False


def _returns_something(function: Any) -> bool:
    """True when the source has a ``return``, or cannot be read: None is then on purpose."""
    tree = _tree(inspect.unwrap(function))
    return tree is None or any(isinstance(node, ast.Return) for node in ast.walk(tree))


@contextlib.contextmanager
def _isolated() -> Iterator[None]:
    """Fixed seeds inside; every random generator and global switch as before outside."""
    python, numpy_state, environment = random.getstate(), np.random.get_state(), dict(os.environ)
    dtype, grad, threads = (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
    )
    device, deterministic = (
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
    )
    folder = os.getcwd()
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
            with torch.enable_grad():
                yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        if torch.are_deterministic_algorithms_enabled() != deterministic:  # the call takes seconds
            torch.use_deterministic_algorithms(deterministic)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        os.chdir(folder)
