"""What each rank would hold of a model under FSDP2, worked out without memory and without ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from vlcourse.engine import sharding
from vlcourse.engine.recompute import blocks


@dataclass(frozen=True)
class Share:
    """Bytes on one rank, all in float32 as the engine trains.

    Attributes:
        weights: its rows of every parameter.
        gradients: of those that are trained.
        adam: the two means of those.
        unit: the largest unit, whole, while the rank computes with it.
    """

    weights: int
    gradients: int
    adam: int
    unit: int

    @property
    def kept(self) -> int:
        """What stays from step to step."""
        return self.weights + self.gradients + self.adam


def plan(build: Callable[[], nn.Module], ranks: int) -> list[Share]:
    """Each rank's share, from a model on the meta device that a group of pretended ranks shards.

    Raises:
        RuntimeError: inside a real process group.
    """
    if dist.is_initialized():
        raise RuntimeError("plan pretends to be every rank in turn: call it outside of any group")
    from torch.testing._internal.distributed.fake_pg import FakeStore

    shares = []
    for rank in range(ranks):
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=ranks)
        try:
            with torch.device("meta"):
                model = build()
            units = [sum(p.numel() for p in block.parameters()) for block in blocks(model)]
            units.append(sum(p.numel() for p in model.parameters()) - sum(units))
            sharding.shard(model, torch.device("cpu"))
            trained = [_rows(p) for p in model.parameters() if p.requires_grad]
            every = sum(_rows(p) for p in model.parameters())
            shares.append(Share(4 * every, 4 * sum(trained), 8 * sum(trained), 4 * max(units)))
        finally:
            dist.destroy_process_group()
    return shares


def _rows(parameter: torch.Tensor) -> int:
    local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    return local.numel()


def table(shares: list[Share]) -> str:
    """The plan in words, a line a rank, in GB (10⁹ bytes)."""
    lines = ["rank   weights  gradients      Adam  together   largest unit"]
    for rank, s in enumerate(shares):
        sizes = (s.weights, s.gradients, s.adam, s.kept, s.unit)
        a, b, c, d, e = (f"{size / 1e9:.2f}" for size in sizes)
        lines.append(f"{rank:4} {a:>9} {b:>10} {c:>9} {d:>9} {e:>14}")
    return "\n".join(lines)
