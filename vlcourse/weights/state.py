"""State dicts of plain models: what is shared by construction is stored once."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlcourse.files import flush

Tensors = dict[str, Tensor]


def write_weights(path: Path, weights: Tensors, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file in one go."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(tensors, temporary, metadata={"format": "pt", **(metadata or {})})
    temporary.chmod(0o644)  # safetensors closes its files to others
    flush(temporary)
    os.replace(temporary, path)


def weights_of(model: nn.Module) -> Tensors:
    """The state dict of a plain model, each shared parameter once."""
    shared = aliases(model)
    return {name: t for name, t in model.state_dict().items() if name not in shared}


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
