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


def still(module: M) -> M:
    """The same module with its parameters as constants, for one call: nothing there is learned."""
    other = copy.copy(module)
    fixed = {name: p if p is None else p.detach() for name, p in module._parameters.items()}
    object.__setattr__(other, "_parameters", fixed)
    inner = {name: m if m is None else still(m) for name, m in module._modules.items()}
    object.__setattr__(other, "_modules", inner)
    return other
