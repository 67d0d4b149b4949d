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
    """The module, with no gradient and in eval mode for good: ``train()`` passes it by."""
    module.requires_grad_(False)
    module.eval()
    for part in module.modules():
        part.train = _stay.__get__(part)  # type: ignore[method-assign]
    return module


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """What a frozen module's ``train`` does: nothing."""
    return module
