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
from vlcourse.engine import Batches
from vlcourse.engine.optimizer import adamw, lr_at
from vlcourse.layers.ranges import RangeError
from vlcourse.models.base import Trainable


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
    sum(model.losses(batch).values()).backward()
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
    mean = torch.stack([sum(model.losses(data[i]).values()) for i in range(3)]).mean()
    mean.backward()
    assert row["loss"] == pytest.approx(mean.item(), rel=1e-5)
    norm = nn.utils.get_total_norm(p.grad for p in model.parameters() if p.grad is not None)
    assert row["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)


def test_accumulated_texts_of_unequal_lengths_learn_as_one_batch() -> None:
    """The step's gradient is that of the mean over all tokens, not of the batches' means."""
    torch.manual_seed(7)
    model, whole = tiny.Reader(), tiny.Reader()
    whole.load_state_dict(model.state_dict())
    settings = tiny.config(steps=1, batch_size=3, accumulate=3, warmup=0)
    row = engine.fit(model, tiny.Pairs(), tiny.texts, *settings).history[0]
    data = Batches(tiny.Pairs(), tiny.texts, 3, settings.train.seed)
    one = {key: torch.cat([data[i][key] for i in range(3)]) for key in ("tokens", "targets")}
    counts = [int(whole.counts(data[i])["lm"]) for i in range(3)]
    assert len(set(counts)) > 1
    loss = whole.losses(one)["lm"]
    loss.backward()
    norm = nn.utils.get_total_norm(p.grad for p in whole.parameters() if p.grad is not None)
    assert row["loss"] == row["lm"] == pytest.approx(loss.item(), rel=1e-6)
    assert row["grad_norm"] == pytest.approx(norm.item(), rel=1e-6)
    assert abs(sum(whole.losses(data[i])["lm"].item() for i in range(3)) / 3 - loss.item()) > 1e-3
    nn.utils.clip_grad_norm_(whole.parameters(), 1.0)
    adamw(whole, settings.train).step()
    torch.testing.assert_close(model.head.weight, whole.head.weight)


def test_batches_without_anything_to_learn_count_nothing() -> None:
    ranks = engine.loop.parallel.start("none")
    empty, some = torch.tensor(0), torch.tensor(3)
    assert engine.loop.shares([{"lm": empty}, {"lm": some}], ranks)["lm"].tolist() == [0, 1]
    assert engine.loop.shares([{"lm": empty}] * 2, ranks)["lm"].tolist() == [0, 0]
    assert engine.loop.shares([{"lm": some}] * 2, ranks)["itc"].tolist() == [0.5, 0.5]


class Parts(tiny.Tiny):
    """A model whose tower learns slowly, with a slow copy of it that follows."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = nn.Linear(6, 8).requires_grad_(False)
        self.steps: list[int] = []

    def lr_factors(self) -> dict[str, float]:
        return {"blocks": 0.1, "blocks.1.linear": 0.0, "log_scale": 2.0}

    def after_step(self, step: int) -> None:
        self.steps.append(step)
        for slow, fast in zip(self.slow.parameters(), self.embed.parameters(), strict=True):
            slow.lerp_(fast, 0.5)


def test_parts_learn_at_rates_of_their_own_and_follow_after_each_step(tmp_path: Path) -> None:
    def train(out: Path, **arguments: Any) -> Parts:
        torch.manual_seed(7)
        model, settings = Parts(), tiny.config(steps=4, eval_every=1, save_every=1)
        engine.fit(model, tiny.Pairs(), tiny.collate, *settings, out=out, **arguments)
        return model

    whole = train(tmp_path / "whole")
    assert whole.steps == [1, 2, 3, 4]
    torch.manual_seed(7)
    start = Parts()
    groups = adamw(start, tiny.config().train).param_groups
    factor = {id(p): g["factor"] for g in groups for p in g["params"]}
    for name, own in start.named_parameters():
        expected = 0.1 if name.startswith("blocks") else 2.0 if name == "log_scale" else 1.0
        expected = 0.0 if name.startswith("blocks.1.linear") else expected
        assert factor.get(id(own), "frozen") == (expected if own.requires_grad else "frozen"), name
    with pytest.raises(engine.Interrupted):
        train(tmp_path / "cut", evaluate=tiny.StopAt(2))
    again = train(tmp_path / "cut")
    assert again.steps == [3, 4]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    still = whole.blocks[1].linear.weight
    assert torch.equal(still, start.blocks[1].linear.weight)
    assert not torch.equal(whole.slow.weight, start.slow.weight)


def test_the_first_step_of_each_part_is_its_rate() -> None:
    """AdamW's first step is the learning rate, whatever the gradient."""
    torch.manual_seed(7)
    model, start = Parts(), Parts()
    start.load_state_dict(model.state_dict())
    settings = tiny.config(steps=1, warmup=0, weight_decay=0.0, eps=0.0)
    engine.fit(model, tiny.Pairs(), tiny.collate, *settings)
    moved = {n: (p - start.get_parameter(n)).abs().max() for n, p in model.named_parameters()}
    assert moved["embed.weight"].item() == pytest.approx(0.01, rel=1e-3)
    assert moved["blocks.0.linear.weight"].item() == pytest.approx(0.001, rel=1e-3)
    assert moved["log_scale"].item() == pytest.approx(0.02, rel=1e-3)


def test_a_rate_for_no_part_is_refused() -> None:
    class Wrong(tiny.Tiny):
        def lr_factors(self) -> dict[str, float]:
            return {"block": 0.1}

    with pytest.raises(engine.TrainingError, match="'block'; did you mean 'blocks'"):
        engine.fit(Wrong(), tiny.Pairs(), tiny.collate, *tiny.config())


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_the_run(where: str) -> None:
    class Broken(Trainable):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6))

        def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
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


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_trains_and_resumes(tmp_path: Path, workers: int) -> None:
    settings = tiny.config(workers=workers, eval_every=1)
    whole = tiny.fit(settings, dataset=tiny.Stream())
    with pytest.raises(KeyboardInterrupt):
        tiny.fit(settings, tmp_path, dataset=tiny.Stream(), evaluate=tiny.StopAt(4))
    cut = tiny.fit(settings, tmp_path, dataset=tiny.Stream())
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


def test_evaluate_loss_is_a_mean_over_tokens_where_texts_differ() -> None:
    model = tiny.Reader()
    pairs = tiny.Pairs()
    whole = tiny.texts([pairs[i] for i in range(40)])
    means = engine.evaluate_loss(model, pairs, tiny.texts, batch_size=4)
    assert means["lm"] == pytest.approx(model.losses(whole)["lm"].item(), rel=1e-6)


def test_evaluate_loss_averages_whole_batches() -> None:
    model = tiny.Tiny(dropout=0.5)
    means = engine.evaluate_loss(model, tiny.Pairs(), tiny.collate, batch_size=16, limit=35)
    assert model.training
    model.eval()
    pairs = tiny.Pairs()
    parts = [
        model.losses(tiny.collate([pairs[i] for i in range(first, first + 16)]))["itc"].item()
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
        def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            seen.append(self.embed(batch["x"]).dtype)
            return super().losses(batch)

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


@pytest.mark.parametrize(
    "given",
    [
        *({name: 0} for name in ("steps", "batch_size", "accumulate", "lr")),
        *({name: 10**9} for name in ("steps", "batch_size", "accumulate", "warmup", "lr")),
        *({name: math.nan} for name in ("lr", "min_lr", "weight_decay", "beta1", "eps")),
        {"beta1": 9}, {"beta2": 1}, {"min_lr": -0.1}, {"clip_norm": -1}, {"clip_norm": math.inf},
        {"eps": -1e-8}, {"weight_decay": -1}, {"warmup": -1}, {"seed": -1}, {"seed": 2**64},
        {"workers": -1}, {"workers": 10**6}, {"keep": -1}, {"eval_every": -1}, {"log_every": -1},
        {"save_every": -1}, {"precision": "bf61"}, {"parallel": "fspd"},
    ],
    ids=str,
)  # fmt: skip
def test_settings_check_their_ranges(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(RangeError, match=name):
        tiny.config(**given)


def test_an_unknown_best_metric_is_named() -> None:
    with pytest.raises(engine.TrainingError, match="val_loss"):
        tiny.fit(tiny.config(best="acuracy"), evaluate=tiny.evaluate)
