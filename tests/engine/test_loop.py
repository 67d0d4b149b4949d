"""The loop learns, reports, and stops with a reason."""

from __future__ import annotations

import json
import math
import signal
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

from vlcourse import engine
from vlcourse.engine import Batches, batches
from vlcourse.engine.optimizer import adamw, lr_at


def test_it_learns_and_reports() -> None:
    result = tiny.fit(tiny.config(steps=60, log_every=20), evaluate=tiny.evaluate)
    assert [row["step"] for row in result.history] == [1, 20, 40, 60]
    first, last = result.history[0], result.history[-1]
    assert last["loss"] < 0.7 * first["loss"]
    assert first["loss"] == pytest.approx(first["itc"] + first["size"], rel=1e-6)
    assert last["val_loss"] == result.metrics["val_loss"] < 1.2
    assert last["samples_per_s"] > 0 and result.seconds > 0
    assert not result.model.training


def test_learning_rate_is_warmup_then_cosine() -> None:
    config = tiny.config(steps=110, warmup=10, lr=2.0, min_lr=0.1).train
    assert lr_at(0, config) == pytest.approx(0.2)
    assert lr_at(9, config) == pytest.approx(2.0)
    assert lr_at(10, config) == pytest.approx(2.0)
    assert lr_at(60, config) == pytest.approx(0.2 + 1.8 / 2)
    assert lr_at(110, config) == pytest.approx(0.2)
    rates = [lr_at(step, config) for step in range(10, 111)]
    assert rates == sorted(rates, reverse=True)


def test_vectors_and_scalars_are_not_decayed() -> None:
    model = tiny.Tiny()
    optimizer = adamw(model, tiny.config(weight_decay=0.3).train)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        if name.startswith("frozen"):
            assert id(parameter) not in decay
        else:
            assert decay[id(parameter)] == (0.3 if parameter.ndim >= 2 else 0.0), name


def test_one_step_is_adamw_with_clipped_gradients() -> None:
    """Against torch's own pieces, written out."""
    settings = tiny.config(steps=1, warmup=0, clip_norm=0.05, weight_decay=0.2)
    ours, config = tiny.fit(settings).model, settings.train
    torch.manual_seed(7)
    model = tiny.Tiny()
    optimizer = adamw(model, config)
    batch = Batches(tiny.Pairs(), tiny.collate, 8, config.seed)[0]
    sum(model(batch).values()).backward()
    before = nn.utils.clip_grad_norm_(model.parameters(), 0.05)
    assert before > 0.05
    optimizer.step()
    for a, b in zip(ours.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_accumulation_averages_gradients_and_adds_no_negatives() -> None:
    settings = tiny.config(steps=1, accumulate=3, batch_size=4)
    row, config = tiny.fit(settings).history[0], settings.train
    torch.manual_seed(7)
    model, data = tiny.Tiny(), Batches(tiny.Pairs(), tiny.collate, 4, config.seed)
    mean = torch.stack([sum(model(data[i]).values()) for i in range(3)]).mean()
    mean.backward()
    assert row["loss"] == pytest.approx(mean.item(), rel=1e-5)
    norm = nn.utils.get_total_norm(p.grad for p in model.parameters() if p.grad is not None)
    assert row["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_the_run(where: str) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6))

        def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            y = (batch["x"] * self.weight).sum()
            broken = (batch["x"] == tiny.Pairs().x[17]).all(dim=1).any()
            if where == "gradient":
                return {"sum": y + (y.detach() - y).abs().sqrt() if broken else y}
            return {"sum": y / (0 if broken else 1)}

    model = Broken()
    with pytest.raises(engine.NonFiniteLoss) as stopped:
        engine.fit(model, tiny.Pairs(), tiny.collate, *tiny.config(accumulate=2, steps=9))
    text = str(stopped.value)
    data = Batches(tiny.Pairs(), tiny.collate, 8, tiny.config().train.seed)
    position = next(i for i in range(18) if 17 in data.rows(i))
    step = position // 2
    assert text.startswith(f"step {step + 1}:")
    assert f"learning rate {lr_at(step, tiny.config(steps=9).train):.3g}" in text
    named = set(text.split("samples ")[1].split(", "))
    assert {f"pair-{row}" for row in data.rows(position)} <= named
    assert len(named) == (8 if where == "loss" else 16)
    assert model.weight.isfinite().all()


def test_batches_are_a_function_of_the_step() -> None:
    data = Batches(tiny.Pairs(20), tiny.collate, 6, seed=5)
    assert len(data) == 3
    epoch = [row for i in range(3) for row in data.rows(i)]
    assert len(set(epoch)) == 18  # no sample twice, the remainder left out
    assert epoch != [row for i in range(3, 6) for row in data.rows(i)]
    again = Batches(tiny.Pairs(20), tiny.collate, 6, seed=5)
    assert again.rows(4) == data.rows(4)
    assert Batches(tiny.Pairs(20), tiny.collate, 6, seed=6).rows(0) != data.rows(0)


def test_ranks_slice_the_batch_of_one_process() -> None:
    whole = Batches(tiny.Pairs(), tiny.collate, 8, seed=5)
    parts = [Batches(tiny.Pairs(), tiny.collate, 8, 5, rank, 2) for rank in range(2)]
    for i in (0, 3, 11):
        assert whole[i]["ids"] == parts[0][i]["ids"] + parts[1][i]["ids"]
    with pytest.raises(batches.BatchError, match="multiple of 3"):
        Batches(tiny.Pairs(), tiny.collate, 8, 5, 0, 3)
    with pytest.raises(batches.BatchError, match="the dataset has 5"):
        Batches(tiny.Pairs(5), tiny.collate, 8)


def test_augmentation_has_its_own_generator_per_step() -> None:
    def noisy(samples: Any, generator: torch.Generator) -> dict[str, Any]:
        return {"noise": torch.rand(3, generator=generator)}

    data = Batches(tiny.Pairs(), noisy, 8, seed=5)
    assert torch.equal(data[2]["noise"], data[2]["noise"])
    assert not torch.equal(data[2]["noise"], data[3]["noise"])


class Stream:
    """The same samples, one after the other; knows its epoch, not its length."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Any:
        pairs = tiny.Pairs(20)
        for i in range(20):
            yield pairs[i] | {"id": f"{self.epoch}:{i}"}


def test_streams_go_on_over_epochs_and_skip_to_the_step() -> None:
    def ids(start: int, rank: int = 0, world: int = 1) -> list[list[str]]:
        stream = batches.StreamBatches(Stream(), tiny.collate, 6, 0, rank, world, start)
        return [batch["ids"] for batch, _ in zip(stream, range(8 - start), strict=False)]

    whole = ids(0)
    assert whole[3] == ["0:18", "0:19", "1:0", "1:1", "1:2", "1:3"]
    assert ids(5) == whole[5:]
    assert [a + b for a, b in zip(ids(0, 0, 2), ids(0, 1, 2), strict=True)] == whole


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_trains_and_resumes(tmp_path: Path, workers: int) -> None:
    settings = tiny.config(workers=workers, eval_every=1)
    whole = tiny.fit(settings, dataset=Stream())
    with pytest.raises(KeyboardInterrupt):
        tiny.fit(settings, tmp_path, dataset=Stream(), evaluate=tiny.StopAt(4))
    cut = tiny.fit(settings, tmp_path, dataset=Stream())
    assert cut.history[-1]["loss"] == whole.history[-1]["loss"]


def test_loader_workers_change_nothing() -> None:
    one, two = (tiny.fit(tiny.config(workers=workers)) for workers in (0, 2))
    assert [row["loss"] for row in one.history] == [row["loss"] for row in two.history]


def test_evaluation_is_in_eval_mode_without_gradients_and_leaves_no_trace() -> None:
    seen = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append((model.training, torch.is_grad_enabled()))
        return {"noise": torch.rand(()).item()}

    plain = tiny.fit(tiny.config(), dropout=0.5)
    watched = tiny.fit(tiny.config(eval_every=2), dropout=0.5, evaluate=evaluate)
    assert seen == [(False, False)] * 3
    assert [row["loss"] for row in plain.history] == [row["loss"] for row in watched.history]


def test_evaluate_loss_averages_whole_batches() -> None:
    model = tiny.Tiny(dropout=0.5)
    means = engine.evaluate_loss(model, tiny.Pairs(), tiny.collate, batch_size=16, limit=35)
    assert model.training
    model.eval()
    pairs = tiny.Pairs()
    parts = [
        model(tiny.collate([pairs[i] for i in range(first, first + 16)]))["itc"].item()
        for first in (0, 16)
    ]
    assert means["itc"] == pytest.approx(sum(parts) / 2, rel=1e-6)


def test_log_files_hold_the_curve(tmp_path: Path) -> None:
    settings = tiny.config(steps=5, log_every=2, eval_every=4)
    result = tiny.fit(settings, tmp_path, evaluate=tiny.evaluate)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 4, 5]
    assert ["val_loss" in row for row in rows] == [False, False, True, True]
    assert rows == result.history
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = {point.step: point.value for point in board.Scalars("loss")}
    assert points == pytest.approx({int(r["step"]): r["loss"] for r in result.history}, rel=1e-6)


def test_the_live_plot_is_drawn_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    handle = types.SimpleNamespace(update=shown.append)
    display = types.SimpleNamespace(
        display=lambda figure, display_id: shown.append(figure) or handle
    )
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    tiny.fit(tiny.config(), plot=True)
    assert len(shown) >= 2
    line = shown[-1].axes[0].lines[0]
    assert list(line.get_xdata()) == [1, 2, 3, 4, 5, 6]
    assert shown[-1].axes[0].get_xlabel() and shown[-1].axes[0].get_ylabel()
    shown.clear()
    tiny.fit(tiny.config())
    assert not shown


def test_bf16_autocast_on_request() -> None:
    seen = []

    class Watch(tiny.Tiny):
        def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            seen.append(self.embed(batch["x"]).dtype)
            return super().forward(batch)

    for precision in ("auto", "bf16", "float32"):
        model = Watch()
        engine.fit(model, tiny.Pairs(), tiny.collate, *tiny.config(steps=1, precision=precision))
        assert model.embed.weight.dtype == torch.float32
    assert seen[1:] == [torch.bfloat16, torch.float32]


@pytest.mark.gpu
def test_a_gpu_trains_in_bf16_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLCOURSE_DEVICE", "cpu")
    on_cpu = tiny.fit(tiny.config())
    monkeypatch.setenv("VLCOURSE_DEVICE", "cuda")
    result = tiny.fit(tiny.config(precision="float32"))
    assert next(result.model.parameters()).device.type == "cuda"
    assert result.history[-1]["loss"] == pytest.approx(on_cpu.history[-1]["loss"], rel=1e-3)
    with pytest.raises(KeyboardInterrupt):
        tiny.fit(tiny.config(eval_every=1), tmp_path, dropout=0.3, evaluate=tiny.StopAt(3))
    cut = tiny.fit(tiny.config(), tmp_path, dropout=0.3)
    whole = tiny.fit(tiny.config(), dropout=0.3)
    assert cut.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=1e-3)


def test_the_interrupt_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    tiny.fit(tiny.config(steps=1))
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_finishes_the_step(tmp_path: Path) -> None:
    """A real SIGINT in the middle of the third step's data."""

    class Pressing(tiny.Pairs):
        read = 0

        def __getitem__(self, i: int) -> dict[str, Any]:
            self.read += 1
            if self.read == 20:
                signal.raise_signal(signal.SIGINT)
            return super().__getitem__(i)

    with pytest.raises(engine.Interrupted, match="stopped after step 3 of 6"):
        tiny.fit(tiny.config(), tmp_path, dataset=Pressing())
    assert tiny.fit(tiny.config(), tmp_path).history[-1] == pytest.approx(
        tiny.fit(tiny.config()).history[-1] | {"samples_per_s": pytest.approx(0, abs=math.inf)}
    )


def test_a_second_ctrl_c_stops_at_once_and_saves_nothing(tmp_path: Path) -> None:
    class Pressing(tiny.Pairs):
        def __getitem__(self, i: int) -> dict[str, Any]:
            signal.raise_signal(signal.SIGINT)
            return super().__getitem__(i)

    with pytest.raises(KeyboardInterrupt) as stopped:
        tiny.fit(tiny.config(), tmp_path, dataset=Pressing())
    assert not isinstance(stopped.value, engine.Interrupted)
    assert not list(tmp_path.glob("step-*"))


@pytest.mark.parametrize("name", ["steps", "batch_size", "accumulate", "lr"])
def test_settings_must_be_positive(name: str) -> None:
    with pytest.raises(engine.TrainingError, match=name):
        tiny.config(**{name: 0})


def test_an_unknown_best_metric_is_named() -> None:
    with pytest.raises(engine.TrainingError, match="val_loss"):
        tiny.fit(tiny.config(best="acuracy"), evaluate=tiny.evaluate)
