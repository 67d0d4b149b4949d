"""What a momentum contrast needs: encoders that follow slowly, and a queue of their features.

He et al. 2020, "Momentum Contrast…", section 3.2; Li et al. 2021 (ALBEF), section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Momentum(nn.Module):
    """Twins of some parts of a model, without a gradient: their weights are moving averages.

    They are in the state dict. A twin's batch norms normalise by their own batch and keep their own
    statistics, which belong to its own weights; in eval mode nothing of it moves.

    Args:
        parts: modules of the same names (with the same parameters, or some of them) as the
            model's; they become the twins.
    """

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.requires_grad_(False)

    @torch.no_grad()
    def copy(self, source: nn.Module) -> None:
        """Begin anew as copies of the model's parts."""
        for name, parameter in self.named_parameters():
            parameter.copy_(source.get_parameter(name))
        for name, buffer in self.named_buffers():
            buffer.copy_(source.get_buffer(name))

    @torch.no_grad()
    def follow(self, source: nn.Module, momentum: float) -> None:
        """twin ← momentum · twin + (1 - momentum) · source, after a step."""
        for name, parameter in self.named_parameters():
            parameter.lerp_(source.get_parameter(name).to(parameter.dtype), 1 - momentum)


class FeatureQueue(nn.Module):
    """The newest unit vectors, in a ring; where the next one goes, and each one's id.

    It begins with random vectors, as MoCo's. Over ranks each must be given the rows of all, in rank
    order; then all have the same queue. Rows are held until the step is done, because the losses of
    a step still need for their gradients what they would overwrite.

    Args:
        size: how many.
        width: size of a vector.

    Attributes:
        rows: (size, width).
        ids: (size,) which image or caption each is of; -1: unknown.
        place: where the next row goes.
    """

    rows: Tensor
    ids: Tensor
    place: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("ids", torch.full((size,), -1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))
        self._held: list[tuple[Tensor, Tensor]] = []

    def hold(self, rows: Tensor, ids: Tensor | None = None) -> None:
        """Note (n, width) rows for :meth:`write`; ``ids``: (n,)."""
        unknown = torch.full((len(rows),), -1, device=rows.device)
        self._held.append((rows.detach(), unknown if ids is None else ids))

    @torch.no_grad()
    def write(self) -> None:
        """Let the rows that are held take the place of the oldest ones."""
        if not self._held:
            return
        rows, ids = (torch.cat(parts) for parts in zip(*self._held, strict=True))
        self._held.clear()
        size, count = len(self.rows), len(rows)
        kept = torch.arange(max(0, count - size), count, device=rows.device)
        places = (self.place + kept) % max(size, 1)
        self.rows[places] = rows[kept].to(self.rows.dtype)
        self.ids[places] = ids[kept]
        self.place.copy_((self.place + count) % max(size, 1))
