"""Ranks: one process, DDP or FSDP2, started by torchrun. A single process makes no process group.

The rest of the library never asks which rank it is. (Losses that need the global batch gather it
themselves: ``losses.gather_rows``.)
"""

from __future__ import annotations

import contextlib
import copy
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict as dcp
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from vlcourse import VlcourseError
from vlcourse.engine.config import TrainConfig
from vlcourse.engine.optimizer import use_bf16
from vlcourse.engine.recompute import blocks, recompute_blocks
from vlcourse.weights.state import Tensors, aliases


class ParallelError(VlcourseError, RuntimeError):
    """A way of running that does not fit how the process was started."""


def device() -> torch.device:
    """This process's device: its CUDA GPU if there is one, else the CPU.

    ``VLCOURSE_DEVICE`` (cpu, cuda or mps) overrides the choice; mps is used only when asked for.
    """
    name = os.environ.get("VLCOURSE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
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
                f"torchrun started {world} processes, but train.parallel is none, so each would "
                "train its own copy: add train.parallel=ddp or train.parallel=fsdp"
            )
        return Ranks(mode, device())
    if "RANK" not in os.environ:
        raise ParallelError(
            f"train.parallel={mode} needs torchrun: start it as `torchrun --nproc-per-node 2 "
            "-m vlcourse train …`, or run one process with train.parallel=none"
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


class Model:
    """A model as this run's ranks hold it: plain, replicated (DDP) or sharded (FSDP2).

    FSDP2 makes one unit of each child of every ``nn.ModuleList`` called ``blocks``, and one of what
    is left. With bf16 the blocks' weights travel as bf16; gradients are summed in float32.

    Attributes:
        plain: the module itself (its parameters are sharded in place under FSDP2).
    """

    def __init__(self, model: nn.Module, ranks: Ranks, config: TrainConfig) -> None:
        self.plain, self.ranks = model.to(ranks.device), ranks
        self.bf16 = use_bf16(config.precision, ranks.device)
        self.aliases = aliases(model)
        self._copy: nn.Module | None = None
        self._scalars: frozenset[str] = frozenset()
        if ranks.world > 1:  # every rank starts from rank 0's weights
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)
        if ranks.mode == "fsdp":
            self._copy = copy.deepcopy(model).cpu()
        if config.checkpointing:
            recompute_blocks(model)
        if config.compile and ranks.mode != "fsdp":
            model.compile()
        self.wrapped: nn.Module = model
        if ranks.mode == "ddp":
            ids = [ranks.device.index] if ranks.device.type == "cuda" else None
            self.wrapped = DistributedDataParallel(model, ids, gradient_as_bucket_view=True)
        elif ranks.mode == "fsdp":
            self._shard(config.compile)

    def _shard(self, compiled: bool) -> None:
        mesh = dist.init_device_mesh(self.ranks.device.type, (self.ranks.world,))
        self._scalars = _scalars_to_vectors(self.plain)
        # Inputs stay as they are: position tables and masks must not be rounded to bf16.
        half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        policy = half if self.bf16 else MixedPrecisionPolicy()
        for block in blocks(self.plain):
            if compiled:
                block.compile()
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(self.plain, mesh=mesh)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The model's losses of a batch. The model gets the tensors, moved to its device."""
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.bf16):
            return self.wrapped(to_device(batch, self.ranks.device))

    def accumulating(self, more: bool) -> contextlib.AbstractContextManager[Any]:
        """Around forward and backward: with ``more`` to come, gradients stay on their rank."""
        if isinstance(self.wrapped, FSDPModule):
            self.wrapped.set_requires_gradient_sync(not more)
        elif isinstance(self.wrapped, DistributedDataParallel) and more:
            return self.wrapped.no_sync()
        return contextlib.nullcontext()

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradients to norm ≤ ``max_norm``; the norm they had over all shards."""
        norm = nn.utils.clip_grad_norm_(self.plain.parameters(), max_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    @contextlib.contextmanager
    def whole(self) -> Iterator[nn.Module]:
        """A module whose every method works on this rank alone, for evaluation.

        Under FSDP2 this is a full copy with the gathered weights (wrappers hook only ``forward``),
        so each rank needs room for one until it goes back to the CPU. Every rank must call this.
        """
        if self._copy is None:
            yield self.plain
            return
        options = dcp.StateDictOptions(full_state_dict=True)
        weights: Any = dcp.get_model_state_dict(self.plain, options=options)
        copied = self._copy.to(self.ranks.device)
        copied.load_state_dict({name: self._out(name, t) for name, t in weights.items()})
        try:
            yield copied
        finally:
            copied.cpu()

    def state(self, optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Tensors]]:
        """Weights, and each parameter's optimiser state, under the plain model's names and shapes.

        The tensors lie on rank 0's CPU (12 bytes a parameter must fit there); the other ranks get
        empty dicts, but every rank must call it. Nothing in them depends on the number of ranks.
        """
        options = dcp.StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights: Any
        state: Any
        weights, state = dcp.get_state_dict(self.plain, optimizer, options=options)
        moments = {
            name: {key: self._out(name, t) for key, t in values.items()}
            for name, values in state.get("state", {}).items()
        }
        kept = {n: self._out(n, t) for n, t in weights.items() if n not in self.aliases}
        return kept, moments

    def load(
        self, optimizer: torch.optim.Optimizer, weights: Tensors, moments: dict[str, Tensors]
    ) -> None:
        """Take up what :meth:`state` gave, whatever the number of ranks was then; strict."""
        filled = weights | {alias: weights[name] for alias, name in self.aliases.items()}
        targets = self.plain.state_dict()
        self.plain.load_state_dict(
            {n: _placed_like(targets.get(n), self._in(n, t)) for n, t in filled.items()}
        )
        names = {parameter: name for name, parameter in self.plain.named_parameters()}
        groups = [
            group | {"params": [names[p] for p in group["params"]]}
            for group in optimizer.param_groups
        ]
        state = {n: {k: self._in(n, t, k) for k, t in v.items()} for n, v in moments.items()}
        dcp.set_optimizer_state_dict(
            self.plain,
            optimizer,
            {"state": state, "param_groups": groups},  # type: ignore[dict-item]
            options=dcp.StateDictOptions(full_state_dict=True),
        )

    def _out(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.reshape(()) if name in self._scalars else tensor

    def _in(self, name: str, tensor: Tensor, key: str = "") -> Tensor:
        return tensor.reshape(1) if name in self._scalars and key != "step" else tensor


def _placed_like(target: Tensor | None, tensor: Tensor) -> Tensor:
    """A whole tensor, cut over the ranks as its target is."""
    if isinstance(target, DTensor):
        return distribute_tensor(tensor, target.device_mesh, target.placements)
    return tensor


def _scalars_to_vectors(model: nn.Module) -> frozenset[str]:
    """FSDP2 cannot shard a 0-d parameter, so it becomes (1,) for the run; names of those."""
    names = {name for name, p in model.named_parameters() if p.ndim == 0}
    for name in names:
        path, _, leaf = name.rpartition(".")
        scalar = model.get_parameter(name)
        vector = nn.Parameter(scalar.detach().reshape(1), requires_grad=scalar.requires_grad)
        setattr(model.get_submodule(path), leaf, vector)
    return frozenset(names)
