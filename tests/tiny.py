"""A model, a dataset and a script small enough to train in a blink, for the engine's tests."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from vlcourse import engine, losses
from vlcourse.engine import parallel


class Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(torch.tanh(self.linear(self.norm(x))))


class Tiny(nn.Module):
    """Two towers with a shared projection, a temperature, and a contrastive loss."""

    def __init__(self, dropout: float = 0.0, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Linear(6, width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(2))
        self.image = nn.Linear(width, 5)
        self.text = self.image  # shared by construction
        self.log_scale = nn.Parameter(torch.tensor([1.0]))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def encode(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.training:
            self.calls += 1
        image, text = self.image(self.encode(batch["x"])), self.text(self.encode(batch["y"]))
        itc = losses.itc(image, text, self.log_scale.exp())
        return {"itc": itc, "size": 0.1 * (image.square().mean() + text.square().mean())}


class Pairs:
    """Pairs of related vectors."""

    def __init__(self, size: int = 40, delay: float = 0.0) -> None:
        x = torch.randn(size, 6, generator=torch.Generator().manual_seed(1))
        self.x, self.y, self.delay = x, x.roll(1, dims=1), delay

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, Any]:
        time.sleep(self.delay)
        return {"id": f"pair-{i}", "x": self.x[i], "y": self.y[i]}


def collate(
    samples: list[dict[str, Any]], generator: torch.Generator | None = None
) -> dict[str, Any]:
    return {
        "x": torch.stack([sample["x"] for sample in samples]),
        "y": torch.stack([sample["y"] for sample in samples]),
        "ids": [sample["id"] for sample in samples],
    }


def evaluate(model: nn.Module) -> dict[str, float]:
    means = engine.evaluate_loss(model, Pairs(), collate, batch_size=8)
    return {"val_loss": means["itc"]}


class Settings(NamedTuple):
    train: engine.TrainConfig
    run: engine.RunConfig


def config(**changes: Any) -> Settings:
    """Settings of both kinds by their names."""
    where = {field.name for field in fields(engine.RunConfig)}
    what = {"steps": 6, "batch_size": 8, "warmup": 2, "lr": 0.01, "seed": 3}
    what |= {name: value for name, value in changes.items() if name not in where}
    run = {"log_every": 1} | {n: value for n, value in changes.items() if n in where}
    return Settings(engine.TrainConfig(**what), engine.RunConfig(**run))


def fit(
    settings: Settings, /, out: Path | None = None, dropout: float = 0.0, **arguments: Any
) -> engine.Result:
    torch.manual_seed(7)
    dataset = arguments.pop("dataset", None) or Pairs()
    return engine.fit(Tiny(dropout), dataset, collate, *settings, out=out, **arguments)


class StopAt:
    """An evaluation that behaves like Ctrl-C at its n-th call."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __call__(self, model: nn.Module) -> dict[str, float]:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return {}


def train_alone(out: Path) -> None:
    """Train slowly with dropout, saving at every step; for tests that kill this process."""
    settings = config(steps=80, save_every=1, workers=0)
    try:
        fit(settings, out, dropout=0.3, dataset=Pairs(delay=0.001))
    except engine.Interrupted as stop:
        print(stop)
        sys.exit(130)


def train_over_ranks(out: Path) -> None:
    """The runs of tests/test_distributed.py that need several ranks."""
    report: dict[str, Any] = {}
    for mode in ("ddp", "fsdp"):
        for accumulate in (1, 2):
            name = f"{mode}-{accumulate}"
            settings = config(parallel=mode, accumulate=accumulate)
            result = fit(settings, out / name, evaluate=evaluate)
            report[name] = {"history": result.history, "metrics": result.metrics}
            own = {
                key: value.full_tensor().tolist() if isinstance(value, DTensor) else value.tolist()
                for key, value in result.model.state_dict().items()
            }
            report[name]["weights"] = own
    try:
        fit(config(parallel="fsdp", eval_every=1), out / "from-two", evaluate=StopAt(3))
    except engine.Interrupted as stop:
        report["stopped"] = str(stop)
    fit(config(parallel="fsdp"), out / "from-one")
    result = fit(config(parallel="fsdp", precision="bf16", compile=False))
    report["bf16"] = result.history[-1]["loss"]
    try:
        fit(config(parallel="ddp", batch_size=7))
    except ValueError as error:
        report["uneven"] = str(error)
    if parallel.current(torch.device("cpu")).main:
        (out / "report.json").write_text(json.dumps(report))
    parallel.finish()


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"alone": train_alone, "ranks": train_over_ranks}[sys.argv[1]](Path(sys.argv[2]))
