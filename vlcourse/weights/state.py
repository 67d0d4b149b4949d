"""Weights as names and tensors, and the files of them: what is shared is stored once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlcourse import VlcourseError
from vlcourse.files import flush
from vlcourse.models.base import Trainable

Tensors = dict[str, Tensor]
Frozen = dict[str, dict[str, str]]
"""Parts of a model that are not trained: name → "source" and "sha256" of their weights."""

# How the header of a safetensors file calls a type.
_TYPES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
    torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


class CheckpointError(VlcourseError, RuntimeError):
    """A checkpoint that cannot be used, or a run folder that belongs to another run."""


def write_weights(path: Path, weights: Tensors, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file in one go."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(tensors, temporary, metadata={"format": "pt", **(metadata or {})})
    temporary.chmod(0o644)  # safetensors closes its files to others
    flush(temporary)
    os.replace(temporary, path)


def stream_weights(
    path: Path,
    like: Mapping[str, Tensor],
    tensor: Callable[[str], Tensor],
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a safetensors file of which one tensor at a time is in memory.

    The format: the header's length (8 bytes), the header (JSON: type, shape, place), the numbers.

    Args:
        path: the file.
        like: tensors of the same types and shapes, which may lie anywhere.
        tensor: gives the tensor of a name; asked in the order of ``like``.
        metadata: texts to keep in the file.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name, t in like.items():
        begin, end = end, end + t.numel() * t.element_size()
        place = {"data_offsets": [begin, end], "shape": list(t.shape), "dtype": _TYPES[t.dtype]}
        header[name] = place
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in like:
            file.write(_bytes(tensor(name)))
    flush(temporary)
    os.replace(temporary, path)


def check_fit(what: str, given: Mapping[str, torch.Size], wanted: Mapping[str, torch.Size]) -> None:
    """Refuse names or shapes that are not the wanted ones; a vector of one may be a scalar.

    Args:
        what: what does not fit what, as the beginning of the sentence.
        given, wanted: shapes by name.

    Raises:
        CheckpointError: which names the first few of each kind.
    """
    shapes = {"missing": wanted.keys() - given.keys(), "unknown": given.keys() - wanted.keys()}
    shapes["of another shape"] = {
        f"{name} ({tuple(given[name])} instead of {tuple(wanted[name])})"
        for name in given.keys() & wanted.keys()
        if (tuple(given[name]) or (1,)) != (tuple(wanted[name]) or (1,))
    }
    found = [
        f"{kind}: {', '.join(sorted(names)[:3])}{' …' if len(names) > 3 else ''}"
        for kind, names in shapes.items()
        if names
    ]
    if found:
        raise CheckpointError(f"{what}: {'; '.join(found)}")


def weights_of(model: nn.Module) -> Tensors:
    """The state dict of a plain model, each shared parameter once."""
    shared = aliases(model)
    return {name: t for name, t in model.state_dict().items() if name not in shared}


def trained_of(model: nn.Module, frozen: Iterable[str]) -> Tensors:
    """The same without what belongs to frozen parts: what a checkpoint holds."""
    prefixes = tuple(f"{part}." for part in frozen)
    return {n: t for n, t in weights_of(model).items() if not f"{n}.".startswith(prefixes)}


def used_of(model: nn.Module, weights: Tensors) -> Tensors:
    """Those weights of a model that its use needs: not what only its training does."""
    begins = model.only_training if isinstance(model, Trainable) else ()
    return {name: t for name, t in weights.items() if not name.startswith(begins)}


def digest(weights: Tensors) -> str:
    """The sha256 of names, types, shapes and numbers, one tensor at a time in memory."""
    sha = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(_bytes(tensor))
    return sha.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def aliases(model: nn.Module) -> dict[str, str]:
    """Names of parameters that are shared by construction → the first name of the same one."""
    first: dict[int, str] = {}
    every = model.named_parameters(remove_duplicate=False)
    named = {name: first.setdefault(id(p), name) for name, p in every}
    return {name: other for name, other in named.items() if name != other}


def to_cpu(weights: Tensors, dtype: torch.dtype | None = None) -> Tensors:
    """Copies on the CPU; floating tensors in ``dtype`` when given."""

    def convert(tensor: Tensor) -> Tensor:
        return tensor.detach().cpu().to(dtype if tensor.is_floating_point() else None)

    return {name: convert(tensor) for name, tensor in weights.items()}
