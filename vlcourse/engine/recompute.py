"""Gradient checkpointing: blocks computed twice, to be remembered once (Chen et al. 2016)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Each child of every ``nn.ModuleList`` called ``blocks``, in the model's order."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and name.split(".")[-1] == "blocks":
            yield from module


def recompute_blocks(model: nn.Module) -> None:
    """Let every block keep only its input for the backward pass, and compute the rest again there.

    Losses and gradients stay the same, dropout's masks too, and running statistics of batch norms
    move once. The model's names, types and state dict do not change; calling this again changes
    nothing.
    """
    for block in blocks(model):
        if not isinstance(vars(block).get("forward"), _Recomputed):
            block.forward = _Recomputed(block)


class _Recomputed:
    """A block's forward, under checkpointing. It hangs on the instance and hides the class's."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.norms = [m for m in block.modules() if isinstance(m, _BatchNorm)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward = type(self.block).forward
        if not self.norms:
            return checkpoint(forward, self.block, *args, use_reentrant=False, **kwargs)
        return checkpoint(
            forward, self.block, *args, use_reentrant=False, context_fn=self._contexts, **kwargs
        )

    def _contexts(self) -> tuple[contextlib.AbstractContextManager, Any]:
        """Around the forward pass, and around its repetition."""
        return contextlib.nullcontext(), self._still()

    @contextlib.contextmanager
    def _still(self) -> Iterator[None]:
        """Batch norms normalise as before, but their running statistics do not move again."""
        before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        try:
            yield
        finally:
            for norm, momentum, count in before:
                norm.momentum, norm.num_batches_tracked = momentum, count
