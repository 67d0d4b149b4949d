"""One rank's part of tests/models/test_adapter_ranks.py: adapters of every kind, trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_adapters import WORDS, adapter, image_adapter, lora, v2
from torch import Tensor
from torch.distributed.tensor import DTensor

from vlcourse import engine
from vlcourse.engine import parallel

MAKE: dict[str, Any] = {
    "prompts": adapter,
    "eyes": image_adapter,
    "lora": lora,
    "v2": v2,
    "v2 late": lambda: v2("grid", fusion="late", queries=5, layers=3),
}
N = 8


class Told:
    """Texts; the first rows of a batch, which the first rank has, are captions with pictures."""

    def __init__(self, images: bool) -> None:
        self.images = images

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(i)
        tokens = torch.randint(WORDS, (9,), generator=generator)
        pixels = torch.randn(3, 16, 16, generator=generator)
        return {"id": str(i), "tokens": tokens, "pixels": pixels}

    def collate(self, samples: list[dict[str, Any]], generator: Any = None) -> dict[str, Any]:
        tokens = torch.stack([s["tokens"] for s in samples])
        targets = tokens[:, 1:].clone()
        targets[:, :3] = -100
        found: dict[str, Any] = {"tokens": tokens[:, :-1], "targets": targets}
        if self.images:
            captions = [int(s["id"]) < N // 2 for s in samples]
            shown = [s["pixels"] for s, own in zip(samples, captions, strict=True) if own]
            found |= {"captions": torch.tensor(captions), "shown": torch.tensor(captions)}
            found |= {"pixels": torch.stack(shown)} if shown else {}
        return found | {"ids": [s["id"] for s in samples]}


def trained(mode: str, kind: str) -> dict[str, Tensor]:
    """What a kind's trained parameters are after three steps."""
    data = Told(kind == "eyes" or kind.startswith("v2"))
    train = engine.TrainConfig(steps=3, batch_size=N, lr=1e-2, warmup=0, weight_decay=0.0)
    run = engine.RunConfig(parallel=mode, checkpointing=mode == "ddp")  # type: ignore[arg-type]
    result = engine.fit(MAKE[kind](), data, data.collate, train, run)
    return {
        name: (p.full_tensor() if isinstance(p, DTensor) else p).detach()
        for name, p in result.model.named_parameters()
        if p.requires_grad
    }


def main(out: Path) -> None:
    """What a rank computes."""
    ranks = parallel.start("ddp")
    found = {f"{mode} {kind}": trained(mode, kind) for mode in ("ddp", "fsdp") for kind in MAKE}
    torch.save(found, out / f"{ranks.rank}.pt")
    parallel.finish()
