"""Weights of other libraries under our names: a table of patterns, read in both directions.

A table row says what a parameter is called here, what it is called there, and how the two tensors
relate. The same row takes a checkpoint in and writes it out, so the two directions cannot disagree.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vlcourse import VlcourseError
from vlcourse.weights.state import aliases


class WeightsError(VlcourseError, ValueError):
    """Weights that do not belong to the model they are meant for, or that cannot be read."""

    def __init__(self, said: str) -> None:
        # Names come from files: a lone surrogate or a line break in one must not break the line.
        super().__init__(" ".join(said.encode("utf-8", "backslashreplace").decode().splitlines()))


class WeightsWarning(UserWarning):
    """Weights that were loaded, and about which something is doubtful."""


_SCALARS = {(), (1,)}  # one number, which some store as a vector of one


@dataclass(frozen=True)
class Rule:
    """One row of a rename table.

    In a pattern ``*`` stands for one part of a dotted name; the n-th ``*`` here is the n-th there.
    """

    ours: str
    """Our name; for "rows" and "ends" with the parts in braces: ``*.attention.{q,k,v}.weight``."""
    theirs: str
    """Their name."""
    op: Literal["same", "transpose", "rows", "ends", "halves", "scalar", "lead", "heads"] = "same"
    """same; transpose: theirs is ours turned; scalar: theirs is (), whatever ours is; rows: theirs
    is our parts one under the other; ends: the same of our two parts, with as many rows of zeros in
    between, which are not read; halves: the rows of each head in another order, because we
    rotate the channels (2j, 2j + 1) by their position and they rotate (j, j + half a head); lead:
    theirs has axes of size 1 in front; heads: theirs is (1, heads, 1, 1), ours a vector."""
    head: int = 0
    """For "halves": rows of one head."""
    axes: int = 0
    """For "lead": how many axes."""


@dataclass(frozen=True)
class Entry:
    """A rule applied to names that exist: one tensor there, one or several here."""

    ours: tuple[str, ...]
    theirs: str
    rule: Rule

    def outward(self, parts: Sequence[Tensor]) -> Tensor:
        """Our tensors → theirs, contiguous; where nothing changes, in the same memory."""
        if self.rule.op == "rows":
            return torch.cat(list(parts))
        if self.rule.op == "ends":
            return torch.cat([parts[0], torch.zeros_like(parts[0]), parts[1]])
        whole = parts[0]
        if self.rule.op == "transpose":
            whole = whole.T
        elif self.rule.op == "scalar":
            whole = whole.reshape(())
        elif self.rule.op == "lead":
            whole = whole.reshape((1,) * self.rule.axes + whole.shape)
        elif self.rule.op == "heads":
            whole = whole.reshape(1, -1, 1, 1)
        elif self.rule.op == "halves":  # (heads · pairs · 2, …) → (heads · 2 · pairs, …)
            pairs = self.rule.head // 2
            whole = whole.unflatten(0, (-1, pairs, 2)).transpose(1, 2).flatten(0, 2)
        return whole.contiguous()

    def inward(self, whole: Tensor, rows: Sequence[int]) -> Sequence[Tensor]:
        """Their tensor → ours, with ``rows`` rows each; views where possible."""
        if self.rule.op == "rows":
            return whole.split(list(rows))
        if self.rule.op == "ends":
            return whole.chunk(3)[::2]
        if self.rule.op == "transpose":
            return [whole.T]
        if self.rule.op == "lead":
            return [whole.reshape(whole.shape[self.rule.axes :])]
        if self.rule.op == "heads":
            return [whole.flatten()]
        if self.rule.op == "halves":  # (heads · 2 · pairs, …) → (heads · pairs · 2, …)
            pairs = self.rule.head // 2
            return [whole.unflatten(0, (-1, 2, pairs)).transpose(1, 2).flatten(0, 2)]
        return [whole]

    def shape(self, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """The shape of their tensor, from those of ours."""
        if self.rule.op == "rows":
            return (sum(shape[0] for shape in shapes), *shapes[0][1:])
        if self.rule.op == "ends":
            return (3 * shapes[0][0], *shapes[0][1:])
        if self.rule.op == "lead":
            return (1,) * self.rule.axes + shapes[0]
        if self.rule.op == "heads":
            return (1, *shapes[0], 1, 1)
        return shapes[0][::-1] if self.rule.op == "transpose" else shapes[0]


def entries(names: Collection[str], table: Sequence[Rule]) -> list[Entry]:
    """Which of their tensors goes with each of our names.

    Args:
        names: our names, all of them.
        table: the rules; each name must fit one of them, and only one.

    Raises:
        WeightsError: when a name fits none or several.
    """
    compiled = [(rule, _regex(part)) for rule in table for part in _parts(rule)]
    found: dict[str, Entry] = {}
    known, lost = set(names), []
    for name in names:
        fits = [(rule, match) for rule, regex in compiled if (match := regex.fullmatch(name))]
        if len(fits) != 1:
            lost.append(f"{name} ({len(fits)} rules)")
            continue
        rule, match = fits[0]
        theirs = _fill(rule.theirs, match.groups())
        entry = Entry(tuple(_fill(p, match.groups()) for p in _parts(rule)), theirs, rule)
        if found.setdefault(theirs, entry) != entry or not known.issuperset(entry.ours):
            lost.append(f"{name} (clashes at {theirs})")
    if lost:
        raise WeightsError(f"the rename table does not name these once: {shorten(lost)}")
    return list(found.values())


def to_theirs(ours: Mapping[str, Tensor], table: Sequence[Rule]) -> dict[str, Tensor]:
    """Our tensors (weights, or gradients) under their names, in their shapes, contiguous.

    Tensors that need no change share their memory with ours.

    Raises:
        WeightsError: when the table does not cover our names.
    """
    return {
        entry.theirs: entry.outward([ours[name].detach() for name in entry.ours])
        for entry in entries(ours, table)
    }


def fill(
    model: nn.Module,
    theirs: Mapping[str, Tensor],
    table: Sequence[Rule],
    drop: Collection[str] = (),
    source: str = "these weights",
    dtype: torch.dtype = torch.float32,
) -> None:
    """Fill a model with another library's weights, strictly. Their tensors are copied.

    Args:
        model: the model, best built on the meta device: its parameters are replaced.
        theirs: names → tensors; each is asked for once, so that a mapping that reads them from
            files need not hold them all.
        table: the rename table.
        drop: names that hold no weights and may be there.
        source: what the error calls them.
        dtype: type of the floating tensors.

    Raises:
        WeightsError: lists what is missing, unused and misshapen, if anything is. The model is
            then as it was.
    """
    shared = aliases(model)
    wanted = {name: t for name, t in model.state_dict().items() if name not in shared}
    plan = entries(wanted, table)
    given = set(theirs)  # asked once: a mapping may have to read a tensor to say that it has it
    missing = [entry.theirs for entry in plan if entry.theirs not in given]
    unused = sorted(given - {entry.theirs for entry in plan} - set(drop))
    misshapen, unreadable, doubtful, filled = [], [], [], {}
    for entry in plan:
        if entry.theirs not in given:
            continue
        shapes = [tuple(wanted[name].shape) for name in entry.ours]
        expected, tensor = entry.shape(shapes), theirs[entry.theirs]
        if reason := unfit(tensor, wanted[entry.ours[0]].dtype):
            unreadable.append(f"{entry.theirs} ({reason})")
            continue
        shape = tuple(tensor.shape)
        if shape != expected and not {shape, expected} <= _SCALARS:
            misshapen.append(f"{entry.theirs} {shape} instead of {expected}")
            continue
        parts = entry.inward(tensor.detach().reshape(expected), [s[0] for s in shapes if s])
        for name, part in zip(entry.ours, parts, strict=True):
            kind = dtype if part.is_floating_point() else wanted[name].dtype
            filled[name] = part.to("cpu", kind, copy=True).contiguous()
        if not all(_finite(filled[name]) for name in entry.ours):
            doubtful.append(entry.theirs)
    problems = (
        ("missing", missing), ("unused", unused), ("misshapen", misshapen),
        ("unreadable", unreadable),
    )  # fmt: skip
    if any(names for _, names in problems):
        said = "; ".join(f"{len(n)} {word}: {shorten(n)}" for word, n in problems if n)
        raise WeightsError(f"{source} are not those of this {type(model).__name__}: {said}")
    if doubtful:
        warnings.warn(
            f"{source} hold NaN or infinite numbers: {shorten(doubtful)}",
            WeightsWarning,
            stacklevel=4,
        )
    filled |= {alias: filled[name] for alias, name in shared.items()}
    model.load_state_dict(filled, assign=True)
    for alias, name in shared.items():  # shared by construction: one parameter again
        path, _, leaf = alias.rpartition(".")
        setattr(model.get_submodule(path), leaf, model.get_parameter(name))


def unfit(tensor: object, dtype: torch.dtype = torch.float32) -> str | None:
    """Why this is no plain tensor of numbers for a parameter of a type; None if it is one."""
    if not isinstance(tensor, Tensor):
        return f"a {type(tensor).__name__}, no tensor"
    if tensor.is_nested or tensor.layout != torch.strided:
        return "sparse or nested: store it dense"
    if tensor.is_meta:
        return "without numbers, on the meta device"
    kind = str(tensor.dtype).removeprefix("torch.")
    floating = tensor.is_floating_point() and tensor.itemsize > 1
    if tensor.is_quantized or (dtype.is_floating_point and not floating):
        return f"{kind}: take weights that are not quantised, of 16 bits or more"
    if not dtype.is_floating_point and (tensor.is_floating_point() or tensor.is_complex()):
        return f"{kind}, no whole numbers"
    if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        return "a few numbers stretched to many"
    return None


def same(a: object, b: object) -> bool:
    """Whether two weights are the same plain tensor, number by number."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or unfit(a) or unfit(b):
        return False
    return a.dtype == b.dtype and torch.equal(a, b)


def once(theirs: Mapping[str, Any], copies: Sequence[str], name: str) -> Mapping[str, Any]:
    """Weights of which the config says that some names are one tensor, with the first of the names.

    Args:
        theirs: the weights; any of the names may be left out.
        copies: the names; the table asks for the first, the others may be dropped.
        name: what the error calls their source.

    Raises:
        WeightsError: when two differ: dropping one would be another model.
    """
    there = [copy for copy in copies if copy in theirs]
    if not there:
        return theirs
    for copy in there[1:]:
        if not same(theirs[copy], theirs[there[0]]):
            raise WeightsError(
                f"{copy} of {name} is not {there[0]}, though its config says that they are one"
            )
    return theirs if there[0] == copies[0] else {**theirs, copies[0]: theirs[there[0]]}


def _finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite; without a mask of its size."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return bool(torch.stack(tensor.aminmax()).isfinite().all())


def shorten(names: Sequence[str], most: int = 6) -> str:
    """The first few names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:200] for name in names[:most]) + rest


def _parts(rule: Rule) -> list[str]:
    """Our pattern without braces, once for each part."""
    if rule.op not in ("rows", "ends"):
        return [rule.ours]
    before, inside, after = re.split(r"[{}]", rule.ours)
    return [before + part + after for part in inside.split(",")]


def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", r"([^.]+)"))


def _fill(pattern: str, groups: tuple[str, ...]) -> str:
    """The pattern with its stars replaced in order."""
    values = iter(groups)
    return re.sub(r"\*", lambda _: next(values), pattern)
