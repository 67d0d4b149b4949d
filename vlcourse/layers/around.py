"""What stands around the pieces of a block that somebody else has trained, and leaves it as it is.

An adapter's parameters are its own: no name of the model around which it stands changes, and two
adapters never meet. A block asks for its pieces when it runs, and the adapter hands them out, each
as it is or with something around it. So an adapter is an argument: it is switched by giving another
one, and removed by giving none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Pieces:
    """A pre-norm block's pieces, as it calls them."""

    norm1: Callable[[Tensor], Tensor]
    attention: Any
    norm2: Callable[[Tensor], Tensor]
    mlp: Callable[[Tensor], Tensor]


Around = Callable[[Any], Pieces]
"""A block → its pieces, with what stands around them."""


def stand_in(module: M, **parts: Callable[..., Tensor]) -> M:
    """The same module with some of its parts exchanged, for one call; the original does not change.

    All else is shared, parameters above all. The parts are called as those that they stand for.

    >>> stand_in(attention, q=around_q)(x)

    Raises:
        AttributeError: when the module has no part of that name.
    """
    own = module._modules
    for name in parts:
        if name not in own:
            raise AttributeError(f"{type(module).__name__} has no part {name!r}")
    other = copy.copy(module)
    object.__setattr__(other, "_modules", own | parts)
    return other


LINEARS = ("q", "k", "v", "out", "gate", "up", "down")
"""The seven linear maps of a LLaMA's block; the first four are its attention's."""


def dressed(block: Any, linears: Mapping[str, Callable[..., Tensor]]) -> Pieces:
    """A LLaMA block's pieces with something around some of its linear maps.

    Args:
        block: as it was trained.
        linears: for a name of :data:`LINEARS` what is called with the linear map and its input.
    """

    def worn(part: Any, names: Sequence[str]) -> Any:
        own = {n: partial(linears[n], getattr(part, n)) for n in names if n in linears}
        return stand_in(part, **own) if own else part

    attention, mlp = worn(block.attention, LINEARS[:4]), worn(block.mlp, LINEARS[4:])
    return Pieces(block.norm1, attention, block.norm2, mlp)


def learned_in(parameter: Tensor, rows: Tensor | None) -> Tensor:
    """A parameter (…) as (B, …), learned from these rows alone: for the others it is a constant.

    Args:
        parameter: the same for all rows.
        rows: (B,) bool; None for all of them, and then nothing changes.
    """
    if rows is None:
        return parameter
    own = rows.view(-1, *[1] * parameter.ndim)
    return torch.where(own, parameter, parameter.detach())


def vectors_learned_in(module: M, rows: Tensor | None) -> M:
    """The same module, for one call with (B, L, …); its vectors are learned from some rows alone.

    Each (D,) becomes (B, 1, D), as in :func:`learned_in`.
    """
    if rows is None:
        return module
    other = copy.copy(module)
    parameters = {
        n: learned_in(p, rows)[:, None] for n, p in module.named_parameters(recurse=False)
    }
    object.__setattr__(other, "_parameters", parameters)
    inner = {name: vectors_learned_in(m, rows) for name, m in module.named_children()}
    object.__setattr__(other, "_modules", inner)
    return other
