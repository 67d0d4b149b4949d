"""The check of a capstone whose answer is several losses: their numbers, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.teach.checking import CUT, expect, expect_close
from vlcourse.teach.mistakes import Mistake, expect_right


def stacked(found: Any, names: Sequence[str]) -> Tensor:
    """Losses as a student returns them → (n,); refused unless they are n scalar tensors."""
    several = f"Return all of them: return {', '.join(names)}."
    right_number = isinstance(found, (tuple, list)) and len(found) == len(names)
    count = {2: "two", 3: "three"}.get(len(names), len(names))
    expect(right_number, f"the answer is not {count} losses", several)
    for name, loss in zip(names, found, strict=True):
        scalar = isinstance(loss, Tensor) and loss.numel() == 1
        expect(scalar, f"{name} is no scalar tensor", "cross_entropy already takes the mean.")
    return torch.stack([loss.reshape(()) for loss in found])


def expect_losses(
    run: Callable[[Callable[..., Any]], Tensor],
    candidate: Callable[..., Any],
    library: Callable[..., Any],
    model: nn.Module,
    names: Sequence[str],
    mistakes: Sequence[Mistake],
    hint: str,
) -> None:
    """Refuse losses, or gradients of a model's parameters, that are not the library's.

    Args:
        run: function → its losses, (n,), with chance seeded anew.
        candidate, library: the student's function, and the right one.
        model: whose parameters learn.
        names: of the losses.
        mistakes, hint: as in `expect_right`.
    """
    expect_right(run, candidate, library, mistakes, "the result", hint)
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = run(candidate)
    for name, loss in zip(names, found, strict=True):
        expect(loss.requires_grad, f"no gradient flows back from {name}", CUT)
    got, right = (
        torch.autograd.grad(value.sum(), list(learned.values()), allow_unused=True)
        for value in (found, run(library))
    )
    largest = max(float(wanted.abs().max()) for wanted in right if wanted is not None)
    for name, mine, wanted in zip(learned, got, right, strict=True):
        if wanted is None:
            continue
        expect(mine is not None, f"no gradient reaches model.{name}", CUT)
        size = max(float(wanted.abs().max()), 1e-3 * largest)  # a key's bias has none but rounding
        expect_close(
            mine / size, wanted / size, f"the gradient at model.{name} (its largest number is 1)",
            CUT, rtol=1e-2, atol=1e-3,
        )  # fmt: skip
