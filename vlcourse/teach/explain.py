"""An exception of a student's code, told in words: what happened, and on which line."""

from __future__ import annotations

import linecache
import re
import traceback
from types import CodeType

_RULES: tuple[tuple[str, str], ...] = (
    (
        r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)",
        r"the matrix product needs equal inner sizes, but they are (\1, \2) and (\3, \4):"
        r" \2 is not \3",
    ),
    (
        r"Expected size for first two dimensions of batch2 tensor to be: \[(\d+), (\d+)\]"
        r" but got: \[(\d+), (\d+)\]",
        r"the batched matrix product needs (batch, inner) = (\1, \2) on the right,"
        r" but it is (\3, \4)",
    ),
    (
        r"The size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)"
        r" at non-singleton dimension (\d+)",
        r"two tensors do not broadcast: on axis \3 one has \1 entries and the other \2",
    ),
    (
        r"shape '(\[.*?\])' is invalid for input of size (\d+)",
        r"a tensor of \2 numbers cannot be viewed as shape \1",
    ),
    (
        r"view size is not compatible with input tensor's size and stride.*",
        "`view` needs the numbers in memory order, and a transpose came before it: use `reshape`",
    ),
    (
        r"Dimension out of range \(expected to be in range of \[(-?\d+), (-?\d+)\],"
        r" but got (-?\d+)\)",
        r"axis \3 does not exist, this tensor has axes \1 to \2",
    ),
    (
        r"index (-?\d+) is out of bounds for dimension (\d+) with size (\d+)",
        r"index \1 does not exist: axis \2 has \3 entries, numbered from 0",
    ),
    (
        r"Sizes of tensors must match except in dimension (\d+).*",
        r"the tensors to join must agree on every axis but axis \1",
    ),
    (
        r"expected scalar type (\w+) but found (\w+)",
        r"one tensor holds \2 and the other \1: make the types equal",
    ),
    (
        r"grad can be implicitly created only for scalar outputs",
        "backward() starts at one number: take the mean or the sum first",
    ),
    (
        r"(?:expected )?m1 and m2 to have the same dtype.*",
        "the two matrices hold different types of numbers: make the types equal",
    ),
    (
        r"a leaf Variable that requires grad is being used in an in-place operation\.?",
        "a parameter is changed in place: make a new tensor instead",
    ),
    (
        r".*can't allocate memory.*",
        "it needs more memory than there is",
    ),
    (
        r"name '(\w+)' is not defined.*",
        r"the name `\1` is not defined",
    ),
    (
        r".*?(?:__init__|\w+)\(\) missing \d+ required positional arguments?: (.*)",
        r"a call lacks the argument \1",
    ),
    (
        r".*?takes (.*?) positional arguments? but (\d+) (?:was|were) given",
        r"a function takes \1 arguments but \2 were given (does the signature still match?)",
    ),
)


def words(error: BaseException) -> str:
    """The exception's message as one plain sentence, without addresses and paths."""
    if isinstance(error, RecursionError):
        return "the function calls itself without end"
    if isinstance(error, EOFError) and "reading a line" in str(error):
        return "it calls input(), and nobody is there to type"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, SystemExit):
        return "it calls exit()"
    text = " ".join(str(error).split())
    for pattern, plain in _RULES:
        if match := re.search(pattern, text):
            return match.expand(plain)
    text = re.sub(r"0x[0-9a-fA-F]+", "0x…", text)
    text = re.sub(r"/(?:[\w.\-]+/)+([\w.\-]+)", r"\1", text)
    text = text if len(text) <= 160 else text[:160].rstrip() + " …"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def line_of(error: BaseException, codes: set[CodeType]) -> str | None:
    """Where in the student's code the error arose: ``line 3: `x = y @ z```, or None if elsewhere.

    ``codes``: the code objects of the student's function or class.
    """
    hit = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code in codes:
            hit = (frame.f_code.co_filename, number)
    if hit is None:
        return None
    source = linecache.getline(*hit).strip()
    return f"line {hit[1]}" + (f", `{source}`" if source else "")


def raised_in(error: BaseException, codes: set[CodeType]) -> bool:
    """True when the statement that raised stands in the student's own code, not in a library."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and frames[-1][0].f_code in codes
