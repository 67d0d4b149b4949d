"""``key=value`` changes to a tree of frozen dataclasses, checked against its annotations."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from vlcourse import VlcourseError
from vlcourse.names import nearest

T = TypeVar("T")


class OverrideError(VlcourseError, ValueError):
    """A key that does not exist, or a value of the wrong type."""


class Row(NamedTuple):
    """One setting of a configuration, as help shows it."""

    key: str
    type: str
    value: str
    doc: str


def apply(config: T, changes: Iterable[str]) -> T:
    """A copy of a dataclass tree with some of its leaves changed.

    Args:
        config: a frozen dataclass whose fields are values or further dataclasses.
        changes: words like ``"train.lr=1e-3"``; later ones win.

    Returns:
        The changed copy; ``config`` itself stays as it is.

    Raises:
        OverrideError: for a word without "=", an unknown key (the nearest one is named), a key that
            names a group, or a value that does not fit the key's type.
    """
    for word in changes:
        key, equals, text = word.partition("=")
        if not equals:
            raise OverrideError(f"{word!r} is not key=value; for example train.steps=100")
        key = _moved(config, key)
        _check_key(config, key)
        config = _replace(config, key.split("."), key, text)
    return config


def describe(config: Any) -> list[Row]:
    """Every key that :func:`apply` can change, with its type, value and docstring, in order."""
    return [
        Row(key, _type_name(annotation), _show(value), _docs(owner).get(key.split(".")[-1], ""))
        for key, owner, annotation, value in _leaves(config)
    ]


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, type, Any, Any]]:
    """(key, class that holds it, annotation, value) of every leaf of the tree."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, type(config), hints[field.name], value


def _moved(config: Any, key: str) -> str:
    """``train.workers`` is understood as ``run.workers``, whose name it once was."""
    known = {leaf[0] for leaf in _leaves(config)}
    there = f"run.{key.removeprefix('train.')}"
    return there if key.startswith("train.") and key not in known and there in known else key


def _check_key(config: Any, key: str) -> None:
    known = [leaf[0] for leaf in _leaves(config)]
    if key in known:
        return
    below = [name for name in known if name.startswith(key + ".")]
    if below:
        raise OverrideError(f"{key!r} is a group of settings; set one of {', '.join(below)}")
    # A key without its group ("lr") is nearest to the keys that end in it.
    near = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    near = near or [close for close in [nearest(key, known, 0.5)] if close]
    if not near:
        last = {name.split(".")[-1]: name for name in reversed(known)}
        near = [last[close] for close in [nearest(key.split(".")[-1], last, 0.6)] if close]
    hint = f"did you mean {near[0]!r}?" if near else "--help lists the keys"
    raise OverrideError(f"there is no setting {key!r}; {hint}")


def _replace(config: Any, path: list[str], key: str, text: str) -> Any:
    name, *rest = path
    if rest:
        value = _replace(getattr(config, name), rest, key, text)
    else:
        annotation = get_type_hints(type(config))[name]
        try:
            value = parse(annotation, text)
        except ValueError as error:
            detail = f" ({error})" if str(error) else ""
            expected = _type_name(annotation)
            raise OverrideError(f"{key}={text}: expected {expected}{detail}") from None
    try:
        return dataclasses.replace(config, **{name: value})
    except OverrideError:
        raise
    except ValueError as error:  # the dataclass's own check
        raise OverrideError(f"{key}={text}: {error}") from error


def parse(annotation: Any, text: str) -> Any:
    """A value of an annotated type from its text.

    Knows int (also 1e5 and 1_000), float, bool, str, Path, None, Literal, unions and tuples
    ("1,2,3", with or without brackets).

    Raises:
        ValueError: when the text is no such value.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        # None first, then the narrower types: a union with str accepts everything.
        order = sorted(arguments, key=lambda kind: (kind is str, kind is not type(None)))
        for kind in order:
            try:
                return parse(kind, text)
            except ValueError:
                continue
        raise ValueError
    if origin is Literal:
        for choice in arguments:
            if text == str(choice):
                return choice
        near = nearest(text, [str(choice) for choice in arguments], 0.6)
        raise ValueError(f"did you mean {near}?" if near else "")
    if origin is tuple:
        return _parse_tuple(arguments, text)
    if annotation is type(None):
        if text.lower() in ("none", "null"):
            return None
        raise ValueError
    if annotation is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() in words:
            return words[text.lower()]
        raise ValueError("write true or false")
    if annotation is int:
        return _parse_int(text)
    if annotation is float:
        try:
            return float(text)
        except ValueError:
            raise ValueError from None
    if annotation in (str, Path):
        return annotation(text)
    if dataclasses.is_dataclass(annotation):
        return _parse_dataclass(annotation, text)
    raise ValueError(f"{_type_name(annotation)} cannot be set from the command line")


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        raise ValueError from None
    if not value.is_integer():
        raise ValueError
    return int(value)


def _parse_dataclass(kind: Any, text: str) -> Any:
    """The fields of a small dataclass in their order, "a:b"; those left out have their defaults."""
    hints, parts = get_type_hints(kind), text.split(":")
    fields = dataclasses.fields(kind)
    needed = sum(field.default is dataclasses.MISSING for field in fields)
    if not needed <= len(parts) <= len(fields):
        raise ValueError(f"write {':'.join(field.name for field in fields)}")
    named = zip(fields, parts, strict=False)
    return kind(**{field.name: parse(hints[field.name], part) for field, part in named})


def _parse_tuple(kinds: tuple[Any, ...], text: str) -> tuple[Any, ...]:
    inside = text.strip()
    if inside[:1] in ("(", "[") and inside[-1:] in (")", "]"):
        inside = inside[1:-1]
    parts = [part.strip().strip("'\"") for part in inside.split(",")]
    parts = parts[:-1] if parts[-1] == "" else parts  # "1," and "" end in an empty part
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(parse(kinds[0], part) for part in parts)
    if len(parts) != len(kinds):
        raise ValueError(f"{len(kinds)} values separated by commas, not {len(parts)}")
    return tuple(parse(kind, part) for kind, part in zip(kinds, parts, strict=True))


def _type_name(annotation: Any) -> str:
    """A type as a reader writes it: "int", "float or none", "one of a, b", "int,int"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(kind) for kind in arguments)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in arguments)
    if origin is tuple:
        return ",".join("…" if kind is Ellipsis else _type_name(kind) for kind in arguments)
    if annotation is bool:
        return "true or false"
    return "none" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _show(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, tuple):
        return ",".join(_show(item) for item in value)
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return ":".join(_show(getattr(value, field.name)) for field in fields)
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def _docs(owner: type) -> dict[str, str]:
    """The string under each field of a dataclass, its base classes included."""
    docs: dict[str, str] = {}
    for cls in reversed(owner.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError):  # made without a source file
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, text in zip(body, body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                docs[field.target.id] = " ".join(text.value.value.split())
    return docs
