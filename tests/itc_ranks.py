"""One rank's part of the global losses, for tests/test_losses_distributed.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from vlcourse import losses

N, WIDTH = 24, 5  # rows of the global batch, size of the embeddings
LENGTH, VOCAB = 3, 7  # of the texts for the language-modelling loss


class Towers(nn.Module):
    """Two small towers with a shared temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, WIDTH))
        self.text = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, WIDTH))
        self.log_scale = nn.Parameter(torch.tensor([1.5]))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return losses.itc(self.image(x), self.text(y), self.log_scale.exp())


class Largest(TorchDispatchMode):
    """The shape of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = ()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor) and tensor.numel() > torch.Size(self.shape).numel():
                self.shape = tuple(tensor.shape)
        return out


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Global batch: image and text embeddings (N, WIDTH), raw inputs (N, 7) and (N, 6)."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((N, WIDTH), (N, WIDTH), (N, 7), (N, 6))
    image, text, x, y = (torch.randn(shape, generator=generator) for shape in shapes)
    return image, text, x, y


def texts(few: bool) -> tuple[Tensor, Tensor]:
    """Global batch: states (N, LENGTH, WIDTH) and targets (N, LENGTH).

    Each row has another number of tokens to learn, the last rows none; or there is one in all.
    """
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(N, LENGTH, WIDTH, generator=generator)
    targets = torch.randint(VOCAB, (N, LENGTH), generator=generator)
    targets[torch.arange(N)[:, None] % (LENGTH + 1) <= torch.arange(LENGTH)] = -100
    targets[N - N // 4 :] = -100
    if few:
        targets[:] = -100
        targets[1, 0] = 3
    return states, targets


def lm_report(rows: slice, few: bool) -> dict[str, Tensor]:
    """The language-modelling loss and its gradients."""
    states, targets = (tensor[rows].clone() for tensor in texts(few))
    states.requires_grad_()
    torch.manual_seed(0)
    head: nn.Module = nn.Linear(WIDTH, VOCAB)
    weight = head.weight
    head = DistributedDataParallel(head) if dist.is_initialized() else head
    loss = losses.lm(states, head, targets)
    loss.backward()
    return {"loss": loss.detach(), "states": states.grad, "head": weight.grad}


def report(rows: slice) -> dict[str, Any]:
    """Loss and gradients of these rows' part of the batch (all rows: the single process)."""
    image, text, x, y = (tensor[rows].clone() for tensor in inputs())
    scale = torch.tensor(7.0, requires_grad=True)
    image.requires_grad_()
    text.requires_grad_()
    with Largest() as largest:
        loss = losses.itc(image, text, scale)
        loss.backward()
    torch.manual_seed(0)
    model: nn.Module = Towers()
    model = DistributedDataParallel(model) if dist.is_initialized() else model
    model(x, y).backward()
    plain = model.module if isinstance(model, DistributedDataParallel) else model
    return {
        "loss": loss.detach(),
        "image": image.grad,
        "text": text.grad,
        "scale": scale.grad,
        "model": {name: p.grad for name, p in plain.named_parameters()},
        "largest": largest.shape,
        "lm": lm_report(rows, few=False),
        "lm, one token": lm_report(rows, few=True),
    }


def constant_gather(x: Tensor) -> Tensor:
    """The bug: other ranks' rows, and my own among them, as constants."""
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


def own_rows_only(x: Tensor) -> Tensor:
    """Half of the cure: my own rows have a gradient, but only from my own loss."""
    n, rank = len(x), dist.get_rank()
    rows = constant_gather(x)
    return torch.cat([rows[: rank * n], x, rows[(rank + 1) * n :]])


def main(out: Path) -> None:
    """What a rank computes, with the right gather and with two wrong ones."""
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    n = N // world
    rows = slice(rank * n, (rank + 1) * n)
    result = report(rows)
    for name, gather in (("constant", constant_gather), ("own", own_rows_only)):
        losses.gather_rows = gather
        result[name] = report(rows)
    torch.save(result, out / f"{rank}.pt")
    dist.destroy_process_group()
