"""AdamW's state under the names of the parameters: its two means and its count of steps."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from vlcourse.engine.sharding import rows_of
from vlcourse.files import flush
from vlcourse.weights.state import CheckpointError, Tensors, check_fit

Moments = dict[str, Tensors]


def of(model: nn.Module, optimizer: torch.optim.AdamW) -> Moments:
    """Each trained parameter's state: ``{name: {"step": (), "exp_avg": …, "exp_avg_sq": …}}``.

    Where no step has reached a parameter yet, zeros, which is what AdamW would begin with.
    """
    fused = optimizer.defaults["fused"]
    return {
        name: optimizer.state.get(p)
        or {
            "step": torch.zeros((), device=p.device if fused else "cpu"),
            "exp_avg": torch.zeros_like(p),
            "exp_avg_sq": torch.zeros_like(p),
        }
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def give(model: nn.Module, optimizer: torch.optim.AdamW, moments: Moments) -> None:
    """Let the optimiser go on with this state."""
    parameters = dict(model.named_parameters())
    for name, values in moments.items():
        optimizer.state[parameters[name]] = {k: t.detach() for k, t in values.items()}


def flat(moments: Moments) -> Tensors:
    """The same tensors as ``{"name.exp_avg": …}``."""
    return {f"{name}.{key}": t for name, values in moments.items() for key, t in values.items()}


def write(path: Path, moments: Moments) -> None:
    """Write whole tensors into a file of torch's, which is loaded with ``weights_only``."""
    on_cpu = {name: {k: t.cpu() for k, t in values.items()} for name, values in moments.items()}
    torch.save({"moments": on_cpu}, path)
    flush(path)


def read(path: Path, into: Moments) -> None:
    """Fill moments in place from such a file; a rank keeps its rows of each.

    Raises:
        CheckpointError: when the file is missing, damaged or of another model.
    """
    try:
        saved = flat(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["moments"])
        given = {name: t.shape for name, t in saved.items()}
    except Exception as error:  # a damaged file makes torch.load raise errors of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is damaged ({reason})") from None
    targets = flat(into)
    check_fit(f"{path} does not fit the model", given, {n: t.shape for n, t in targets.items()})
    for name, tensor in saved.items():
        targets[name].copy_(rows_of(tensor.reshape(targets[name].shape), targets[name]))
