"""A run that was stopped or killed, even in the middle of a save, ends with the same weights."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import forked
import pytest
import tiny
import torch
from safetensors.torch import load_file

from vlcourse import engine
from vlcourse.engine import checkpoint, folder
from vlcourse.weights.state import weights_of


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("workers", [0, 2])
def test_two_and_two_steps_equal_four_bit_for_bit(tmp_path: Path, workers: int) -> None:
    settings = tiny.config(steps=4, save_every=1, accumulate=2)
    whole = tiny.fit(settings, tmp_path / "whole", dropout=0.4)
    with pytest.raises(engine.Interrupted, match="step 2 of 4; saved in"):
        stopping = tiny.config(steps=4, accumulate=2, eval_every=1)
        tiny.fit(stopping, tmp_path / "cut", dropout=0.4, evaluate=tiny.StopAt(2))
    torch.rand(100)  # another process has another random state
    again = tiny.config(steps=4, accumulate=2, workers=workers)
    cut = tiny.fit(again, tmp_path / "cut", dropout=0.4)
    same_weights(cut.model.state_dict(), whole.model.state_dict())
    ours, theirs = (
        [{k: row[k] for k in ("step", "loss", "grad_norm", "lr")} for row in history]
        for history in (cut.history, whole.history)
    )
    assert ours == [theirs[0], *theirs[2:]]  # the interrupted step itself was not logged
    one, two = (
        torch.load(tmp_path / n / "step-000004" / "train_state.pt", weights_only=True)["moments"]
        for n in ("whole", "cut")
    )
    for name in one:
        same_weights(one[name], two[name])


def test_dropout_is_new_in_every_step() -> None:
    """The seeds of two steps differ, so exact resume is not bought with one fixed mask."""
    torch.manual_seed(engine.batches.derive_seed(0, "step", 1, 0))
    first = torch.rand(8)
    torch.manual_seed(engine.batches.derive_seed(0, "step", 2, 0))
    assert not torch.equal(first, torch.rand(8))


class Crash(BaseException):
    """Like a kill: nothing in the engine catches it."""


def test_a_crash_at_any_point_of_saving_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny.config(steps=2, save_every=1, keep=1, eval_every=1, best="val_loss")
    whole = tiny.fit(settings, tmp_path / "whole", dropout=0.3, evaluate=tiny.evaluate)
    replace, crashes = os.replace, 0
    for point in range(1, 100):
        calls = 0

        def crashing(a: Any, b: Any, point: int = point) -> None:
            nonlocal calls
            calls += 1
            if calls == point:
                raise Crash
            replace(a, b)

        run = tmp_path / f"crash-{point}"
        monkeypatch.setattr(os, "replace", crashing)
        try:
            tiny.fit(settings, run, dropout=0.3, evaluate=tiny.evaluate)
        except Crash:
            crashes += 1
        else:
            break
        finally:
            monkeypatch.setattr(os, "replace", replace)
        for step, place in checkpoint.checkpoints(run):  # whatever is there is whole
            assert checkpoint.read_state(place, step)
            checkpoint.load_weights(tiny.Tiny(), place)
        result = tiny.fit(settings, run, dropout=0.3, evaluate=tiny.evaluate)
        same_weights(result.model.state_dict(), whole.model.state_dict())
        assert not list(run.glob(".tmp-*")), point
        assert checkpoint.checkpoints(run)[-1][0] == 2
        assert (run / "best" / "model.safetensors").is_file()
    assert crashes > 10


def wait_for_step(process: Any, run: Path, beyond: int) -> None:
    """Until the run has a checkpoint of a later step."""
    deadline = time.monotonic() + 60
    while not any(step > beyond for step, _ in checkpoint.checkpoints(run)):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.slow
def test_sigkill_and_ctrl_c_of_a_real_process(tmp_path: Path) -> None:
    run, reached = tmp_path / "run", 0
    for delay in (0.0, 0.021, 0.053):
        process = forked.start(tiny.train_alone, run)
        wait_for_step(process, run, reached)
        time.sleep(delay)
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL, "the run was over before it was killed"
        before, reached = reached, checkpoint.checkpoints(run)[-1][0]
        assert before < reached < 40
    process = forked.start(tiny.train_alone, run)
    wait_for_step(process, run, reached)
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 130
    stopped = checkpoint.checkpoints(run)[-1][0]
    said = run.with_suffix(".said").read_text()
    assert f"stopped after step {stopped} of 40; saved in {run}" in said
    assert not list(run.glob(".tmp-*"))

    settings = tiny.config(steps=40, save_every=1)
    resumed = tiny.fit(settings, run, dropout=0.3)
    whole = tiny.fit(tiny.config(steps=40), dropout=0.3)
    same_weights(resumed.model.state_dict(), whole.model.state_dict())
    assert [row["step"] for row in resumed.history] == [row["step"] for row in whole.history]
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]


def test_half_written_folders_are_ignored_and_cleared(tmp_path: Path) -> None:
    tiny.fit(tiny.config(steps=2), tmp_path)
    half = tmp_path / ".tmp-123-step-000009"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"cut")
    assert tiny.fit(tiny.config(steps=3), tmp_path).step == 3
    assert not half.exists()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    extra = {"model": {"width": 8}, "data": {"objects": (1, 4)}}
    tiny.fit(tiny.config(steps=1), tmp_path, settings=extra)
    other = {"model": {"width": 16}, "data": {"objects": (1, 4)}}
    with pytest.raises(checkpoint.CheckpointError) as refused:
        tiny.fit(tiny.config(steps=1, lr=0.5), tmp_path, settings=other)
    assert "model.width (was 8, now 16)" in str(refused.value)
    assert "train.lr (was 0.01, now 0.5)" in str(refused.value)
    assert "objects" not in str(refused.value)
    free = tiny.config(steps=2, eval_every=1, save_every=1, log_every=5, keep=3, workers=0)
    assert tiny.fit(free, tmp_path, settings=extra).step == 2


def test_fresh_begins_again(tmp_path: Path) -> None:
    tiny.fit(tiny.config(steps=5), tmp_path)
    result = tiny.fit(tiny.config(steps=3, lr=0.1), tmp_path, resume=False)
    assert result.step == 3
    assert [step for step, _ in checkpoint.checkpoints(tmp_path)] == [3]
    assert json.loads((tmp_path / "config.json").read_text())["train"]["lr"] == 0.1


def test_a_finished_run_is_given_back_unchanged(tmp_path: Path) -> None:
    first = tiny.fit(tiny.config(steps=3), tmp_path, evaluate=tiny.evaluate)
    second = tiny.fit(tiny.config(steps=3), tmp_path, evaluate=tiny.evaluate)
    same_weights(first.model.state_dict(), second.model.state_dict())
    assert second.metrics == first.metrics and second.step == 3
    assert second.history == first.history


def test_the_last_k_and_the_best_are_kept(tmp_path: Path) -> None:
    values = iter([0.5, 0.2, 0.9, 0.3, 0.4])
    settings = tiny.config(steps=5, save_every=1, eval_every=1, keep=2, best="accuracy")
    seen = []

    def evaluate(model: torch.nn.Module) -> dict[str, float]:
        seen.append({name: t.clone() for name, t in weights_of(model).items()})
        return {"accuracy": next(values)}

    tiny.fit(settings, tmp_path, evaluate=evaluate)
    assert [step for step, _ in checkpoint.checkpoints(tmp_path)] == [4, 5]
    same_weights(load_file(tmp_path / "best" / "model.safetensors"), seen[2])
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"step": 5, "accuracy": 0.4}


def test_saved_weights_have_plain_names_and_fill_a_model(tmp_path: Path) -> None:
    trained = tiny.fit(tiny.config(steps=2), tmp_path).model
    names = load_file(tmp_path / "step-000002" / "model.safetensors").keys()
    assert "blocks.0.linear.weight" in names and "text.weight" not in names  # shared with image
    fresh = tiny.Tiny()
    checkpoint.load_weights(fresh, tmp_path / "step-000002")
    same_weights(fresh.state_dict(), trained.state_dict())
    other = tiny.Tiny()
    checkpoint.load_weights(other, tmp_path)  # a run: its newest weights
    same_weights(other.state_dict(), trained.state_dict())
    with pytest.raises(checkpoint.CheckpointError, match="does not fit Linear"):
        checkpoint.load_weights(torch.nn.Linear(2, 2), tmp_path / "step-000002")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(checkpoint.CheckpointError, match="cut.safetensors"):
        checkpoint.load_weights(fresh, tmp_path / "cut.safetensors")
    with pytest.raises(checkpoint.CheckpointError, match="there are no weights"):
        checkpoint.load_weights(fresh, tmp_path / "absent")


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    "files",
    [
        {"config.json": '{"model_type": "llama"}', "model.safetensors": "weights"},
        {"log.csv": "mine"},
        {"config.json": '{"train": {}}', "step-7/notes.txt": "mine", "thesis.tex": "mine"},
        {"config.json": "[" * 100_000},
        {".tmp-notes": "mine"},
    ],
    ids=["a model of transformers", "a log", "more than a run", "deep JSON", "a name like ours"],
)
def test_a_folder_that_is_no_run_is_not_touched(
    tmp_path: Path, files: dict[str, str], resume: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="no folder of a run: nothing in it was"):
        tiny.fit(tiny.config(steps=1), tmp_path, resume=resume)
    assert contents(tmp_path) == before


def test_a_run_from_before_the_mark_goes_on_and_fresh_leaves_what_is_not_ours(
    tmp_path: Path,
) -> None:
    tiny.fit(tiny.config(steps=1), tmp_path)
    (tmp_path / folder.MARK).unlink()
    assert tiny.fit(tiny.config(steps=2), tmp_path).step == 2
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".tmp-mine").write_text("mine")
    (tmp_path / ".tmp-77-step-000009").mkdir()
    (tmp_path / "tensorboard" / "mine.txt").write_text("mine")
    (tmp_path / "log.csv").write_text("step,loss\n1,2.0\n")
    tiny.fit(tiny.config(steps=1, lr=0.1), tmp_path, resume=False)
    kept = contents(tmp_path)
    assert kept["notes.txt"] == kept[".tmp-mine"] == kept["tensorboard/mine.txt"] == b"mine"
    assert "log.csv" not in kept
    assert len(list((tmp_path / "tensorboard").glob("events*"))) == 1
    assert [step for step, _ in checkpoint.checkpoints(tmp_path)] == [1]
    assert not (tmp_path / ".tmp-77-step-000009").exists()


def test_a_run_from_when_where_it_runs_was_part_of_its_training_goes_on(tmp_path: Path) -> None:
    tiny.fit(tiny.config(steps=1), tmp_path)
    config = tmp_path / "config.json"
    settings = json.loads(config.read_text())
    settings["train"] |= {"workers": 3, "precision": "bf16", "log_every": 7}
    config.write_text(json.dumps(settings))
    assert tiny.fit(tiny.config(steps=2, precision="float32"), tmp_path).step == 2
    settings["train"]["lr"] = 0.5
    config.write_text(json.dumps(settings))
    with pytest.raises(checkpoint.CheckpointError, match="train.lr .was 0.5, now 0.01"):
        tiny.fit(tiny.config(steps=3), tmp_path)
