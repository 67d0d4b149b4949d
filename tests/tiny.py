"""A model, a dataset and a script small enough to train in a blink, for the engine's tests."""

from __future__ import annotations

import json
import os
import signal
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
from vlcourse.models.base import Trainable


class Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(torch.tanh(self.linear(self.norm(x))))


class Tiny(Trainable):
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

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.training:
            self.calls += 1
        image, text = self.image(self.encode(batch["x"])), self.text(self.encode(batch["y"]))
        itc = losses.itc(image, text, self.log_scale.exp())
        return {"itc": itc, "size": 0.1 * (image.square().mean() + text.square().mean())}


FROZEN = {"frozen": {"source": "elsewhere", "sha256": "0" * 64}}


class Reader(Trainable):
    """A language model of one layer, for texts of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(7, 8)
        self.head = nn.Linear(8, 7)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        hidden = torch.tanh(self.token(batch["tokens"]))
        return {"lm": losses.lm(hidden, self.head, batch["targets"])}

    def counts(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"lm": (batch["targets"] != -100).sum()}


def texts(
    samples: list[dict[str, Any]], generator: torch.Generator | None = None
) -> dict[str, Any]:
    """Texts of 1 to 5 tokens, made of the numbers of pairs."""
    names = [sample["id"] for sample in samples]
    tokens = torch.tensor([[(int(name[5:]) + i) % 7 for i in range(6)] for name in names])
    lengths = torch.tensor([1 + int(name[5:]) % 5 for name in names])
    targets = tokens[:, 1:].masked_fill(torch.arange(5) >= lengths[:, None], -100)
    return {"tokens": tokens[:, :-1], "targets": targets, "ids": names}


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


class Stream:
    """The same samples, one after the other; knows its epoch, not its length."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Any:
        pairs = Pairs(20)
        for i in range(20):
            yield pairs[i] | {"id": f"{self.epoch}:{i}"}


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
    settings = config(steps=40, save_every=1, workers=0)
    try:
        fit(settings, out, dropout=0.3, dataset=Pairs(delay=0.001))
    except engine.Interrupted as stop:
        out.with_suffix(".said").write_text(str(stop))
        sys.exit(130)


EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.scandir")


def train_and_die(out: Path, at: int) -> None:
    """Train, and be killed at an operation on files; at 0 note how many there are."""
    seen = 0

    def watch(event: str, arguments: Any) -> None:
        nonlocal seen
        if event in EVENTS and any(str(out) in str(argument) for argument in arguments):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    began = time.monotonic()
    fit(config(steps=6, save_every=1), out, dropout=0.3)
    out.with_suffix(".json").write_text(json.dumps([seen, time.monotonic() - began]))


def train_over_ranks(out: Path) -> None:
    """The runs of tests/engine/test_parallel.py that need several ranks."""
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
    fit(config(parallel="fsdp", steps=3), out / "kept", frozen=FROZEN)
    for mode in ("ddp", "fsdp"):
        torch.manual_seed(7)
        settings = config(steps=1, batch_size=4, accumulate=2, parallel=mode)
        read = engine.fit(Reader(), Pairs(), texts, *settings)
        whole = engine.evaluate_loss(read.model, Pairs(), texts, 4)
        report[f"{mode}-texts"] = {"row": read.history[0], "mean": whole["lm"]}
    result = fit(config(parallel="fsdp", precision="bf16", compile=False))
    report["bf16"] = result.history[-1]["loss"]
    try:
        fit(config(parallel="ddp", batch_size=7))
    except ValueError as error:
        report["uneven"] = str(error)
    if parallel.current(torch.device("cpu")).main:
        (out / "report.json").write_text(json.dumps(report))
    parallel.finish()
