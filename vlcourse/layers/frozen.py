"""Eval mode: for a while, or for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards each part is in the mode it was in (frozen ones stay in theirs)."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def freeze(module: nn.Module) -> nn.Module:
    """The module, with no gradient and in eval mode for good: ``train()`` passes it by.

    So do a parent's ``train()`` and those of its parts; copies and pickles of it stay frozen, too.
    """
    module.requires_grad_(False)
    module.eval()
    for part in module.modules():
        part.train = _Stay(part)  # type: ignore[method-assign]
    return module


def thaw(module: nn.Module) -> nn.Module:
    """The module, trained again: with a gradient, in the mode that its parents are put into.

    In float32: in half precision small steps are lost, and large numbers overflow to NaN.
    """
    for part in module.modules():
        part.__dict__.pop("train", None)
    return module.float().requires_grad_(True)


class _Stay:
    """A frozen module's ``train``. It hangs on the instance and hides the class's.

    An object, because a function bound to the instance would not survive pickling.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        return self.module
