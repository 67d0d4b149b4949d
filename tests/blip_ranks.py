"""One rank's part of tests/models/test_blip_ranks.py: BLIP's losses over ranks, DDP and FSDP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vlcourse import engine
from vlcourse.engine import parallel
from vlcourse.generate import generate
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.med import MEDConfig

CLS, SEP = 27, 28
CONFIG = BLIPConfig(
    embed=6,
    image=BLIPViTConfig(image_size=16, patch_size=8, width=12, layers=2, heads=3),
    text=MEDConfig(
        vocab_size=31, context=12, width=12, layers=2, heads=3, image_width=12, cls=CLS, sep=SEP,
        dec=29, enc=30,
    ),
    queue=7, alpha_steps=0,
)  # fmt: skip
N = 4


def batch(rows: slice, number: int = 0) -> dict[str, Tensor]:
    """These rows of a batch of N pairs; padded to the longest of them only.

    Rows 0, 1, 2 have one caption, so that each of them has one possible negative, row 3; row 3's
    negative is one of three equal captions, and of three equal images.
    """
    generator = torch.Generator().manual_seed(number)
    tokens = torch.randint(1, CLS, (N, 8), generator=generator)
    pixels = torch.randn(N, 3, 16, 16, generator=generator)
    tokens[1:3], pixels[1:3] = tokens[:1], pixels[:1]
    lengths = torch.tensor([5, 5, 5, 8])
    tokens[:, 0] = CLS
    tokens[torch.arange(N), lengths - 1] = SEP
    mask = torch.arange(8) < lengths[:, None]
    longest = int(lengths[rows].max())
    cut = {"pixels": pixels[rows], "tokens": tokens[rows, :longest], "mask": mask[rows, :longest]}
    return {name: tensor.clone() for name, tensor in cut.items()}


def report(rows: slice) -> dict[str, Any]:
    """Losses, gradients, and the queue after a step, of these rows' part of the batch."""
    torch.manual_seed(0)
    model = BLIP(CONFIG)
    wrapped: Any = parallel.Objective(model)
    if dist.is_initialized():
        wrapped = DistributedDataParallel(wrapped)
        torch.manual_seed(dist.get_rank())
    found = wrapped(batch(rows))
    torch.stack(list(found.values())).sum().backward()
    model.after_step(1)
    return {
        "losses": {name: loss.detach() for name, loss in found.items()},
        "gradients": {name: p.grad for name, p in model.named_parameters() if p.requires_grad},
        "queue": {n: b for n, b in model.named_buffers() if "queue" in n},
    }


class Pairs:
    """Pairs of noise and texts."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"id": str(i), **{name: rows[0] for name, rows in batch(slice(3, 4), i).items()}}


def collate(samples: list[dict[str, Any]], generator: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"ids": [sample["id"] for sample in samples]}
    for name in ("pixels", "tokens", "mask"):
        found[name] = torch.stack([sample[name] for sample in samples])
    return found


@torch.no_grad()
def measured(model: BLIP) -> dict[str, float]:
    """An evaluation that uses each method."""
    data = batch(slice(None))
    logits = model.match(data["pixels"], data["tokens"], data["mask"])
    written = generate(model, None, pixels=data["pixels"], max_new_tokens=4, beams=2)
    cosines = model(data["pixels"], data["tokens"], data["mask"])
    means = engine.evaluate_loss(model, Pairs(), collate, batch_size=2, limit=4)
    found = {"match": logits.sum(), "written": written.sum(), "cosines": cosines.sum()}
    return {name: value.item() for name, value in found.items()} | means


def trained(mode: str) -> dict[str, Any]:
    """Weights and measurements after three steps. (Two pairs: each has one possible negative.)"""
    train = engine.TrainConfig(steps=3, batch_size=2, lr=1e-3, warmup=1)
    torch.manual_seed(0)
    make: Any = (lambda: BLIP(CONFIG)) if mode == "fsdp" else BLIP(CONFIG)
    run = engine.RunConfig(parallel=mode)  # type: ignore[arg-type]
    result = engine.fit(make, Pairs(), collate, train, run, evaluate=measured)
    weights = result.model.state_dict()
    whole = {n: t.full_tensor() if isinstance(t, DTensor) else t for n, t in weights.items()}
    return {"weights": whole, "metrics": result.metrics}


def main(out: Path) -> None:
    """What a rank computes."""
    ranks = parallel.start("ddp")
    n = N // ranks.world
    result: dict[str, Any] = report(slice(ranks.rank * n, (ranks.rank + 1) * n))
    for mode in ("ddp", "fsdp"):
        result[mode] = trained(mode)
    torch.save(result, out / f"{ranks.rank}.pt")
    parallel.finish()
