"""What each rank would hold of a model under FSDP2, worked out without memory and without ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.distributed as dist
from torch import nn

from vlcourse.engine import sharding
from vlcourse.engine.recompute import blocks
from vlcourse.layers.ranges import RangeError

MOST = 10_000  # ranks


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
    """Each rank's share of a model, built on the meta device and sharded by a pretended rank 0.

    Raises:
        RangeError: for other numbers of ranks than 1 to 10,000.
        RuntimeError: inside a real process group.
    """
    if not 1 <= ranks <= MOST:
        raise RangeError(f"ranks={ranks} is out of range; 1 to {MOST:,} is what it may be.")
    if dist.is_initialized():
        raise RuntimeError("plan pretends to be a rank: call it outside of any group")
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        with torch.device("meta"):
            model = build()
        units = [sum(p.numel() for p in block.parameters()) for block in blocks(model)]
        units.append(sum(p.numel() for p in model.parameters()) - sum(units))
        sharding.shard(model, torch.device("cpu"))
        sizes = [(p.shape, p.requires_grad) for p in model.parameters()]
    finally:
        dist.destroy_process_group()
    shares = []
    for rank in range(ranks):
        every = sum(_part(shape, rank, ranks) for shape, _ in sizes)
        trained = sum(_part(shape, rank, ranks) for shape, learns in sizes if learns)
        shares.append(Share(4 * every, 4 * trained, 8 * trained, 4 * max(units)))
    return shares


def _part(shape: torch.Size, rank: int, ranks: int) -> int:
    """Numbers of a rank: as many rows as the first rank has, until there are none left."""
    rows = -(-shape[0] // ranks)
    return max(0, min(rows, shape[0] - rank * rows)) * shape[1:].numel()


def table(shares: list[Share]) -> str:
    """The plan in words, a line for neighbours with equal shares, in GB (10⁹ bytes)."""
    lines = ["ranks          weights  gradients      Adam  together   largest unit"]
    for share, group in groupby(enumerate(shares), key=lambda pair: pair[1]):
        first, *more = [rank for rank, _ in group]
        sizes = (share.weights, share.gradients, share.adam, share.kept, share.unit)
        a, b, c, d, e = (f"{size / 1e9:.2f}" for size in sizes)
        name = f"{first}–{more[-1]}" if more else str(first)
        lines.append(f"{name:<12} {a:>9} {b:>10} {c:>9} {d:>9} {e:>14}")
    return "\n".join(lines)
