"""One rank's part of tests/engine/test_fsdp.py: a model of 34 MB, and the memory it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tiny import Pairs, Tiny, collate, config
from torch import Tensor, nn

from vlcourse import engine, losses
from vlcourse.engine import checkpoint, parallel
from vlcourse.engine.optimizer import adamw
from vlcourse.models.base import Trainable

WIDTH, LAYERS = 512, 16
UNIT = 2 * WIDTH * WIDTH * 4  # bytes of a block
WHOLE = LAYERS * UNIT


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, WIDTH, bias=False)
        self.down = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.tanh(self.up(x)))


class Large(Trainable):
    """Two towers in one, of blocks that are much larger than what is around them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.log_scale = nn.Parameter(torch.tensor([1.0]))
        for block in self.blocks:
            nn.init.normal_(block.down.weight, std=1e-3)

    def encode(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return x

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        states = self.encode(torch.cat([batch["x"], batch["y"]]))  # each block once a step
        image, text = states.chunk(2)
        return {"itc": losses.itc(image, text, self.log_scale.exp())}


def resident(key: str) -> int:
    """A number of bytes from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


@contextmanager
def peak(report: dict[str, float], name: str) -> Iterator[None]:
    """The most memory that was added within, above what was there at the start of the program."""
    Path("/proc/self/clear_refs").write_text("5")
    yield
    report[name] = resident("VmHWM:") - report["before"]


def measured(model: nn.Module) -> dict[str, float]:
    """An evaluation that uses another method than ``forward``, too."""
    states = model.encode(Pairs().x)
    means = engine.evaluate_loss(model, Pairs(), collate, batch_size=9, limit=9)
    return {"val_loss": means["itc"], "size": states.square().mean().item()}


def run(out: Path) -> None:
    """A small run to load what is loaded late, then the large one, phase by phase."""
    settings = config(steps=1, batch_size=9, parallel="fsdp")
    engine.fit(Tiny, Pairs(), collate, *settings, evaluate=measured, out=out / "small")
    report: dict[str, float] = {"before": resident("VmRSS:")}
    torch.manual_seed(5)
    with peak(report, "start"):
        placed = parallel.Placed(Large, parallel.start("fsdp"), settings.run)
    torch.manual_seed(5)
    torch.testing.assert_close(
        placed.plain.blocks[7].up.weight.full_tensor(), Large().blocks[7].up.weight, rtol=0, atol=0
    )
    report["before"] = resident("VmRSS:") - WHOLE / placed.ranks.world
    optimizer = adamw(placed.plain, settings.train)
    placed.plain.train()
    with peak(report, "train"):
        for step in range(2):
            rows = slice(9 * step, 9 * step + 9)
            sum(placed({"x": Pairs().x[rows], "y": Pairs().y[rows]}).values()).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    (out / "large").mkdir(exist_ok=True)
    state = {"seconds": 1.0, "metrics": {}, "best": None}
    with peak(report, "save"):
        checkpoint.save(out / "large", 2, placed, optimizer, state, keep=1, last=True)
    with peak(report, "evaluate"), placed.evaluating() as model, torch.no_grad():
        report |= measured(model.eval())
    with peak(report, "load"):
        assert checkpoint.resume(out / "large", placed, optimizer)["step"] == 2
    (out / f"rank-{placed.ranks.rank}.json").write_text(json.dumps(report))
    del placed, optimizer, model
    parallel.finish()
