"""FSDP2: each rank holds its rows of every tensor, and whole only the block it computes with.

A checkpoint is written and read by torch.distributed.checkpoint in safetensors, each rank its own
files; any number of ranks reads what any other has written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vlcourse.engine.deferred import Deferred
from vlcourse.engine.recompute import blocks
from vlcourse.weights.state import CheckpointError, Tensors, aliases, check_fit


def build(make: Callable[[], nn.Module]) -> tuple[nn.Module, Callable[[str], Tensor]]:
    """A model on the meta device, and what gives each of its tensors, whole, by name.

    One tensor at a time is on the CPU; it has the numbers that ``make()`` alone would give it.
    """
    with Deferred() as deferred:
        model = make()
    noted = deferred.tensors(model)
    return model, lambda name: deferred.make(noted[name])


def shard(
    model: nn.Module, device: torch.device, bf16: bool = False, compiled: bool = False
) -> None:
    """Cut a model's parameters over the ranks, in place.

    Each child of every ``nn.ModuleList`` called ``blocks`` is one unit, and what is left is one.
    With bf16 the blocks' weights travel as bf16; gradients are summed in float32.
    """
    mesh = dist.init_device_mesh(device.type, (dist.get_world_size(),))
    # Inputs stay as they are: position tables and masks must not be rounded to bf16.
    half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for block in blocks(model):
        if compiled:
            block.compile()
        fully_shard(block, mesh=mesh, mp_policy=half if bf16 else MixedPrecisionPolicy())
    fully_shard(model, mesh=mesh)


def fill(model: nn.Module, device: torch.device, tensor: Callable[[str], Tensor]) -> None:
    """Give a sharded model on the meta device its numbers; a rank keeps its rows of each tensor."""
    shared = aliases(model)
    model.to_empty(device=device)
    for alias, name in shared.items():  # to_empty has parted them
        path, _, leaf = alias.rpartition(".")
        setattr(model.get_submodule(path), leaf, model.get_parameter(name))
    with torch.no_grad():
        for name, target in (*model.named_parameters(), *model.named_buffers()):
            target.copy_(rows_of(tensor(name).to(device), target))


def rows_of(whole: Tensor, target: Tensor) -> Tensor:
    """A whole tensor cut as its target is; this rank's rows, without a word to the others."""
    if not isinstance(target, DTensor):
        return whole
    return distribute_tensor(whole, target.device_mesh, target.placements, src_data_rank=None)


def save(folder: Path, tensors: Tensors) -> None:
    """Write tensors, each rank its rows. Every rank must call it.

    The files are one a block and rank, so that no rank holds more than a block's bytes ready.
    """
    files = {name: 1 + number for number, names in enumerate(_units(tensors)) for name in names}
    vectors = {name: tensor.detach() for name, tensor in tensors.items()}
    vectors |= {name: tensor.reshape(1) for name, tensor in vectors.items() if tensor.ndim == 0}
    writer = HuggingFaceStorageWriter(str(folder), files, save_distributed=True)
    dcp.save(vectors, storage_writer=writer)


def _units(names: Iterable[str]) -> list[list[str]]:
    """Names by the block that they belong to (``a.blocks.3``), the others together."""
    found: dict[str, list[str]] = {}
    for name in names:
        path = name.split(".")
        at = path.index("blocks") + 2 if "blocks" in path else 0
        found.setdefault(".".join(path[:at]), []).append(name)
    return list(found.values())


def load(folder: Path, targets: Tensors) -> None:
    """Fill tensors in place from a folder of safetensors files, strictly; each rank its rows.

    The folder is what :func:`save` wrote, or holds one whole file. Outside a process group, or
    where the targets are whole, this gives whole tensors. In a group every rank must call it.

    Raises:
        CheckpointError: for a missing or damaged file, or other names or shapes than the targets'.
    """
    try:
        reader = HuggingFaceStorageReader(str(folder))
        entries: Any = reader.read_metadata().state_dict_metadata
        stored = {name: torch.Size(entry.size) for name, entry in entries.items()}
        check_fit(
            f"{folder} does not fit the model",
            stored,
            {name: tensor.shape for name, tensor in targets.items()},
        )
        # A scalar stored as a vector of one, or the other way round, takes a detour.
        odd = {n: torch.zeros(stored[n]) for n, t in targets.items() if t.shape != stored[n]}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is")
            dcp.load({**targets, **odd}, storage_reader=reader)
        for name, tensor in odd.items():
            targets[name].copy_(rows_of(tensor.reshape(targets[name].shape), targets[name]))
    except CheckpointError:
        raise
    except _DAMAGE as error:
        raise CheckpointError(f"{folder} is damaged ({reason(error)})") from None


_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AssertionError, RuntimeError, SafetensorError,
    dcp.api.CheckpointException,
)  # fmt: skip


def reason(error: BaseException) -> str:
    """The first line of an error, of the first rank that has one."""
    if isinstance(error, dcp.api.CheckpointException):
        error = next(iter(error.failures.values()))[0]
    return (str(error).splitlines() or [type(error).__name__])[0]
