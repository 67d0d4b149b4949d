"""Ranks: one process, DDP or FSDP2, started by torchrun. A single process makes no process group.

The rest of the library never asks which rank it is. (Losses that need the global batch gather it
themselves: ``losses.gather_rows``.)
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vlcourse import VlcourseError
from vlcourse.engine import moments, sharding
from vlcourse.engine.config import RunConfig
from vlcourse.engine.optimizer import use_bf16
from vlcourse.engine.recompute import recompute_blocks
from vlcourse.models.base import Trainable
from vlcourse.weights.state import Frozen, Tensors, stream_weights, trained_of, write_weights


class ParallelError(VlcourseError, RuntimeError):
    """A way of running that does not fit how the process was started."""


def device() -> torch.device:
    """This process's device: its CUDA GPU if there is one, else the CPU.

    ``VLCOURSE_DEVICE`` (cpu, cuda or mps) overrides the choice. An Apple GPU (mps) is used only so:
    the numbers of the lectures are a CPU's.

    Raises:
        ParallelError: ``VLCOURSE_DEVICE`` names none of the three, or one that is not here.
    """
    name = os.environ.get("VLCOURSE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if not here.get(name):
        have = ", ".join(known for known in here if here[known])
        raise ParallelError(
            f"VLCOURSE_DEVICE={name}: this machine has {have}; unset it or name that"
        )
    if name == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(name)


@dataclass(frozen=True)
class Ranks:
    """Where this process stands among the processes of the run."""

    mode: str
    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """True on the one rank that writes files and shows progress."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Elementwise mean over the ranks."""
        if self.world > 1:
            dist.all_reduce(values)  # gloo has no mean, so sum and divide
        return values / self.world

    def from_main(self, values: dict[str, float]) -> dict[str, float]:
        """Rank 0's numbers, on every rank (all hold the same names)."""
        if self.world == 1:
            return values
        tensor = torch.tensor(list(values.values()), dtype=torch.float32, device=self.device)
        dist.broadcast(tensor, src=0)
        return dict(zip(values, tensor.tolist(), strict=True))

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.world > 1:
            dist.barrier()


def start(mode: str) -> Ranks:
    """Join the run that torchrun describes in the environment, or be a single process.

    Args:
        mode: "none", "ddp" or "fsdp".

    Raises:
        ParallelError: "none" under torchrun with several processes, or ddp/fsdp without torchrun.
    """
    world = int(os.environ.get("WORLD_SIZE", 1))
    if mode == "none":
        if world > 1:
            raise ParallelError(
                f"torchrun started {world} processes, but run.parallel is none, so each would "
                "train its own copy: add run.parallel=ddp or run.parallel=fsdp"
            )
        return Ranks(mode, device())
    if "RANK" not in os.environ:
        raise ParallelError(
            f"run.parallel={mode} needs torchrun: start it as `torchrun --nproc-per-node 2 "
            "-m vlcourse train …`, or run one process with run.parallel=none"
        )
    where = device()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    return Ranks(mode, where, dist.get_rank(), dist.get_world_size())


def current(where: torch.device) -> Ranks:
    """The standing of this process in the run that it has joined, if any."""
    if dist.is_initialized():
        return Ranks("joined", where, dist.get_rank(), dist.get_world_size())
    return Ranks("none", where)


def to_device(batch: dict[str, Any], where: torch.device) -> Tensors:
    """The tensors of a batch, moved; a model sees nothing else of it."""
    items = batch.items()
    return {k: v.to(where, non_blocking=True) for k, v in items if isinstance(v, Tensor)}


def finish() -> None:
    """Leave the process group, if there is one; call it when the last run of a process is over.

    All ranks leave together, and what still holds the group (wrappers in reference cycles) goes
    first: a group's threads that outlive it abort the process.
    """
    if dist.is_initialized():
        gc.collect()
        dist.barrier()
        dist.destroy_process_group()


class Objective(nn.Module):
    """A model's losses as a ``forward``: the only method that DDP and ``compile`` look after."""

    def __init__(self, model: Trainable) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What :meth:`Trainable.losses` gives."""
        return self.model.losses(batch)


class Placed:
    """A model as this run's ranks hold it: plain, replicated (DDP) or sharded (FSDP2).

    Attributes:
        plain: the module itself (its parameters are sharded in place under FSDP2).
        frozen: parts of it that are in no checkpoint.
    """

    def __init__(
        self,
        model: Trainable | Callable[[], Trainable],
        ranks: Ranks,
        run: RunConfig,
        frozen: Frozen | None = None,
    ) -> None:
        """Take up a model, or build one: under FSDP2 a function's model is never whole anywhere."""
        self.ranks, self.frozen = ranks, frozen or {}
        self.plain: Trainable
        self.bf16 = use_bf16(run.precision, ranks.device)
        sharded, tensor = ranks.mode == "fsdp", None
        if isinstance(model, Trainable):
            self.plain = model.to(ranks.device)
        elif sharded:
            self.plain, tensor = sharding.build(model)
        else:
            self.plain = model().to(ranks.device)
        if ranks.world > 1 and tensor is None:  # every rank starts from rank 0's weights
            for own in self.plain.state_dict().values():
                dist.broadcast(own, src=0)
        if run.checkpointing:
            recompute_blocks(self.plain)
        self.wrapped: nn.Module = Objective(self.plain)
        if run.compile and not sharded:
            self.wrapped.compile()
        if ranks.mode == "ddp":
            ids = [ranks.device.index] if ranks.device.type == "cuda" else None
            self.wrapped = DistributedDataParallel(self.wrapped, ids, gradient_as_bucket_view=True)
        elif sharded:
            sharding.shard(self.plain, ranks.device, self.bf16, run.compile)
            if tensor is not None:
                sharding.fill(self.plain, ranks.device, tensor)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The model's losses of a batch. The model gets the tensors, moved to its device."""
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.bf16):
            return self.wrapped(to_device(batch, self.ranks.device))

    def accumulating(self, more: bool) -> contextlib.AbstractContextManager[Any]:
        """Around forward and backward: with ``more`` to come, gradients stay on their rank."""
        if isinstance(self.plain, FSDPModule):
            self.plain.set_requires_gradient_sync(not more)
        elif isinstance(self.wrapped, DistributedDataParallel) and more:
            return self.wrapped.no_sync()
        return contextlib.nullcontext()

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradients to norm ≤ ``max_norm``; the norm they had over all shards."""
        norm = nn.utils.clip_grad_norm_(self.plain.parameters(), max_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[Trainable]:
        """The module with every method usable, for evaluation. Every rank must call this.

        FSDP2 gathers a unit around its ``forward`` only. So what belongs to no block is gathered
        here for the while, and each block in its own forward: a rank holds its shard, these, and
        one block. All ranks must call the same blocks in the same order, or they wait for ever.
        """
        units: Any = self.plain  # the same; fully_shard has added methods to it
        if not isinstance(units, FSDPModule):
            yield self.plain
            return
        units.unshard()
        try:
            yield self.plain
        finally:
            units.reshard()

    def trained(self) -> Tensors:
        """The weights that checkpoints hold, by name: all but those of frozen parts."""
        return trained_of(self.plain, self.frozen)

    def _about(self) -> dict[str, str]:
        return {"frozen": json.dumps(self.frozen)} if self.frozen else {}

    def save(self, folder: Path, optimizer: torch.optim.AdamW, whole: bool) -> None:
        """Write weights and optimiser state into a folder. Every rank must call it.

        One process and DDP write model.safetensors and train_state.pt; FSDP2 writes the folders
        weights/ and moments/ (:mod:`vlcourse.engine.sharding`), and with ``whole`` also
        model.safetensors.
        """
        if not isinstance(self.plain, FSDPModule):
            if self.ranks.main:
                write_weights(folder / "model.safetensors", self.trained(), self._about())
                moments.write(folder / "train_state.pt", moments.of(self.plain, optimizer))
            return
        sharding.save(folder / "weights", self.trained())
        sharding.save(folder / "moments", moments.flat(moments.of(self.plain, optimizer)))
        if whole:
            self.export(folder / "model.safetensors")

    def export(self, path: Path, about: dict[str, str] | None = None) -> None:
        """Write the trained weights into one file, on rank 0. Every rank must call it.

        Under FSDP2 the tensors are gathered and written one by one.
        """
        weights, about = self.trained(), {**self._about(), **(about or {})}
        if not isinstance(self.plain, FSDPModule):
            if self.ranks.main:
                write_weights(path, weights, about)
            return

        def gathered(name: str) -> Tensor:
            tensor = weights[name]
            return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

        if self.ranks.main:
            stream_weights(path, weights, gathered, about)
        else:
            for name in weights:
                gathered(name)

    def load(self, folder: Path, optimizer: torch.optim.AdamW) -> None:
        """Take up what :meth:`save` wrote, whatever the number of ranks and the mode were; strict.

        Raises:
            CheckpointError: for a damaged checkpoint, or one of another model. The weights may
                have changed by then: load another one, or give up.
        """
        own = moments.of(self.plain, optimizer)
        parts = (folder / "weights").is_dir()
        with torch.no_grad():
            sharding.load(folder / "weights" if parts else folder, self.trained())
            if parts:
                sharding.load(folder / "moments", moments.flat(own))
            else:
                moments.read(folder / "train_state.pt", own)
        moments.give(self.plain, optimizer, own)
