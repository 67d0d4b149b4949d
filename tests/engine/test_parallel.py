"""Two real gloo processes train what one process trains: DDP and FSDP2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import forked
import pytest
import tiny
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from vlcourse import engine
from vlcourse.engine import checkpoint, moments, parallel
from vlcourse.engine.optimizer import adamw
from vlcourse.weights.state import CheckpointError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The run folders and the report of the runs on two ranks."""
    out = tmp_path_factory.mktemp("ranks")
    with pytest.raises(KeyboardInterrupt):  # a run of one process to go on with on two
        tiny.fit(tiny.config(eval_every=1), out / "from-one", evaluate=tiny.StopAt(2))
    forked.ranks(2, tiny.train_over_ranks, out)
    return out, json.loads((out / "report.json").read_text())


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_ranks_equal_one_process(
    two: tuple[Path, dict[str, Any]], tmp_path: Path, mode: str, accumulate: int
) -> None:
    folder, report = two[0] / f"{mode}-{accumulate}", two[1][f"{mode}-{accumulate}"]
    one = tiny.fit(tiny.config(accumulate=accumulate), tmp_path, evaluate=tiny.evaluate)
    for key in ("step", "loss", "itc", "grad_norm", "lr"):
        ours, theirs = ([row[key] for row in h] for h in (one.history, report["history"]))
        assert theirs == pytest.approx(ours, abs=1e-5), key
    assert report["metrics"] == pytest.approx(one.metrics, abs=1e-5)
    saved, expected = (
        load_file(p / "step-000006" / "model.safetensors") for p in (folder, tmp_path)
    )
    assert saved.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(saved[name], tensor, atol=1e-5, rtol=0)
        returned = torch.tensor(report["weights"][name]).to(tensor.dtype)
        torch.testing.assert_close(returned, saved[name], atol=1e-6, rtol=0)
    state, before = (moments_of(p / "step-000006") for p in (folder, tmp_path))
    assert state.keys() == before.keys()
    for name, values in before.items():
        torch.testing.assert_close(state[name], values, atol=1e-5, rtol=0)


def test_frozen_parts_are_in_no_ranks_checkpoint(
    two: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run = tmp_path / "kept"
    shutil.copytree(two[0] / "kept", run)
    step = run / "step-000003"
    whole = load_file(step / "model.safetensors").keys()
    assert "blocks.0.linear.weight" in whole and "frozen.weight" not in whole
    parts = [name for file in step.glob("weights/*.safetensors") for name in load_file(file)]
    assert set(parts) == whole
    assert json.loads((step / "state.json").read_text())["frozen"] == tiny.FROZEN
    other = {"frozen": {**tiny.FROZEN["frozen"], "sha256": "1" * 64}}
    for place in (step / "weights", step / "model.safetensors"):
        with pytest.raises(CheckpointError, match="beside the frozen part frozen from elsewhere"):
            checkpoint.load_weights(tiny.Tiny(), place, other)
    with pytest.raises(CheckpointError, match="beside the frozen part frozen from elsewhere"):
        tiny.fit(tiny.config(), run, frozen=other)
    assert tiny.fit(tiny.config(), run, frozen=tiny.FROZEN).step == 6


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_texts_of_unequal_lengths_weigh_by_their_tokens_over_ranks_and_batches(
    two: tuple[Path, dict[str, Any]], mode: str
) -> None:
    torch.manual_seed(7)
    settings = tiny.config(steps=1, batch_size=4, accumulate=2)
    one = engine.fit(tiny.Reader(), tiny.Pairs(), tiny.texts, *settings)
    theirs = two[1][f"{mode}-texts"]
    for key in ("loss", "lm", "grad_norm"):
        assert theirs["row"][key] == pytest.approx(one.history[0][key], abs=1e-6), key
    mean = engine.evaluate_loss(one.model, tiny.Pairs(), tiny.texts, 4)["lm"]
    assert theirs["mean"] == pytest.approx(mean, abs=1e-6)


def moments_of(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """A checkpoint's optimiser state, whichever way it was written, in one process."""
    model, settings = tiny.Tiny(), tiny.config()
    placed = parallel.Placed(model, parallel.start("none"), settings.run)
    optimizer = adamw(model, settings.train)
    placed.load(folder, optimizer)
    return moments.of(model, optimizer)


def test_a_run_goes_on_with_another_number_of_ranks(two: tuple[Path, dict[str, Any]]) -> None:
    whole = tiny.fit(tiny.config()).model.state_dict()
    assert "step 3 of 6" in two[1]["stopped"]
    assert (two[0] / "from-two" / "step-000003").is_dir()
    on_one = tiny.fit(tiny.config(), two[0] / "from-two")  # 3 steps on two ranks, then 3 here
    assert on_one.step == 6
    for name, tensor in on_one.model.state_dict().items():
        torch.testing.assert_close(tensor, whole[name], atol=1e-5, rtol=0)
    on_two = load_file(two[0] / "from-one" / "step-000006" / "model.safetensors")
    for name, tensor in on_two.items():
        torch.testing.assert_close(tensor, whole[name], atol=1e-5, rtol=0)


def test_bf16_blocks_train_close_to_float32(two: tuple[Path, dict[str, Any]]) -> None:
    exact = tiny.fit(tiny.config()).history[-1]["loss"]
    assert two[1]["bf16"] != exact
    assert two[1]["bf16"] == pytest.approx(exact, rel=0.02)


def test_a_batch_that_does_not_divide_is_refused(two: tuple[Path, dict[str, Any]]) -> None:
    assert "multiple of 2" in two[1]["uneven"]


def test_torchrun_without_a_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(parallel.ParallelError, match="run.parallel=ddp"):
        parallel.start("none")


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_a_mode_without_torchrun_is_refused(mode: str) -> None:
    with pytest.raises(parallel.ParallelError, match="torchrun --nproc-per-node"):
        tiny.fit(tiny.config(parallel=mode))


def test_one_process_makes_no_process_group() -> None:
    tiny.fit(tiny.config(steps=1))
    assert not dist.is_initialized()
