"""The student's own functions: those that passed in this session, and the model made of them.

Below the exercises and below what checks them, so that a capstone's reference can use the answers
to the exercises before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

passed: dict[str, Any] = {}
"""The answers that passed, the last time each was tried in this session, by exercise."""


def pick(id: str, reference: Any) -> Any:
    """The student's answer to the exercise ``id`` if it passed, else ``reference``."""
    return passed.get(id, reference)


Losses = Callable[..., dict[str, Tensor]]


@dataclass(frozen=True)
class Capstone:
    """The last exercise of a lecture: a model's forward pass, put together and trained.

    Attributes:
        recipe: name of the recipe; the model is kept as "…-yours" for "…-capstone".
        exercise: id of the exercise whose answer is the forward pass.
        uses: ids of the exercises whose answers it is put together from.
        losses: (the student's function, model, batch) → the losses that training makes smaller.
        library: (model, batch) → the same losses by the library's own forward pass.
    """

    recipe: str
    exercise: str
    uses: tuple[str, ...]
    losses: Losses
    library: Losses
