"""Damaged runs, full disks and kills: what is whole stays, and the run goes on from there."""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import forked
import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings, strategies
from safetensors.torch import load_file, save_file

from vlcourse import VlcourseError, engine
from vlcourse.engine import checkpoint

STEPS = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps with all its checkpoints."""
    run = tmp_path_factory.mktemp("damage") / "run"
    tiny.fit(tiny.config(steps=STEPS, save_every=1, keep=0), run, dropout=0.3)
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def go_on(run: Path, steps: int = STEPS) -> engine.Result:
    return tiny.fit(tiny.config(steps=steps, save_every=1, keep=0), run, dropout=0.3)


def write_moments(path: Path, change: Any) -> None:
    saved = torch.load(path, weights_only=True)
    change(saved["moments"])
    torch.save(saved, path)


def write_model(path: Path, change: Any) -> None:
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def write_state(path: Path, change: Any) -> None:
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))


DAMAGE = {
    "train_state.pt empty": lambda f: (f / "train_state.pt").write_bytes(b""),
    "train_state.pt garbage": lambda f: (f / "train_state.pt").write_bytes(b"\x80\x02garbage."),
    "train_state.pt of another kind": lambda f: torch.save([1, 2], f / "train_state.pt"),
    "train_state.pt gone": lambda f: (f / "train_state.pt").unlink(),
    "train_state.pt key missing": lambda f: write_moments(
        f / "train_state.pt", lambda m: m.pop("embed.weight")
    ),
    "train_state.pt key unknown": lambda f: write_moments(
        f / "train_state.pt", lambda m: m.update(new=m["embed.weight"])
    ),
    "train_state.pt misshapen": lambda f: write_moments(
        f / "train_state.pt", lambda m: m["embed.weight"].update(exp_avg=torch.zeros(2))
    ),
    "model.safetensors empty": lambda f: (f / "model.safetensors").write_bytes(b""),
    "model.safetensors misshapen": lambda f: write_model(
        f / "model.safetensors", lambda w: w.update({"embed.weight": torch.zeros(2, 2)})
    ),
    "model.safetensors key missing": lambda f: write_model(
        f / "model.safetensors", lambda w: w.pop("embed.weight")
    ),
    "state.json empty": lambda f: (f / "state.json").write_text(""),
    "state.json deep": lambda f: (f / "state.json").write_text("[" * 100_000),
    "state.json no metrics": lambda f: write_state(f / "state.json", lambda s: s.pop("metrics")),
    "state.json other step": lambda f: write_state(f / "state.json", lambda s: s.update(step=9)),
    "state.json no number": lambda f: write_state(
        f / "state.json", lambda s: s.update(seconds="x")
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    run: Path, whole: Path, damage: str
) -> None:
    DAMAGE[damage](run / "step-000004")
    name = damage.split()[0] if "model" not in damage else "step-000004"
    with pytest.warns(UserWarning, match=f"{name}.*: the run goes on from step-000003") as warned:
        result = go_on(run)
    assert len([w for w in warned if "goes on" in str(w.message)]) == 1
    assert result.step == STEPS and (run / "damaged-step-000004").is_dir()
    for file in ("model.safetensors", "train_state.pt"):
        ours, theirs = (r / "step-000004" / file for r in (run, whole))
        assert ours.read_bytes() == theirs.read_bytes(), file


def test_without_a_whole_checkpoint_it_is_said(run: Path) -> None:
    for _, folder in checkpoint.checkpoints(run):
        (folder / "state.json").write_text("{}")
    with pytest.raises(checkpoint.CheckpointError, match="state.json is damaged.*--fresh"):
        go_on(run)
    assert len(checkpoint.checkpoints(run)) == STEPS  # nothing was moved


def test_a_damaged_config_is_named_and_written_anew(run: Path) -> None:
    before = json.loads((run / "config.json").read_text())
    (run / "config.json").write_bytes(b"\xff\x00{")
    with pytest.warns(UserWarning, match="config.json is damaged"):
        assert go_on(run).step == STEPS
    assert json.loads((run / "config.json").read_text()) == before


FILES = (
    "config.json", "log.jsonl", "metrics.json", "step-000004/state.json",
    "step-000004/train_state.pt", "step-000004/model.safetensors",
)  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=strategies.sampled_from(FILES),
    junk=strategies.binary(max_size=60),
    at=strategies.floats(0, 1),
    how=strategies.sampled_from(["replaced", "cut", "overwritten"]),
)
def test_any_bytes_in_a_run_give_a_result_or_a_sentence(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, name: str, junk: bytes, at: float,
    how: str,
) -> None:  # fmt: skip
    run = Path(shutil.copytree(whole, tmp_path_factory.mktemp("fuzz") / "run"))
    before = (run / name).read_bytes() if (run / name).exists() else b""
    place = int(at * len(before))
    after = before[:place] + junk + before[place + len(junk) :]
    (run / name).write_bytes({"replaced": junk, "cut": before[:place], "overwritten": after}[how])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert go_on(run, STEPS + 1).step == STEPS + 1
    except VlcourseError as error:
        assert "\n" not in str(error)
    shutil.rmtree(run)


@pytest.mark.parametrize("bytes_a_file", [2000, 9000])
def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_stays(
    run: Path, bytes_a_file: int
) -> None:
    """No file may grow beyond a limit, so a save fails in the weights, or in the moments."""
    for step in (3, 4):
        shutil.rmtree(run / f"step-00000{step}")
    sizes = [
        (run / "step-000002" / n).stat().st_size for n in ("model.safetensors", "train_state.pt")
    ]
    assert sizes[0] > 2000 and sizes[1] > 9000 > sizes[0]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, before[1]))
    try:
        with pytest.raises(
            checkpoint.CheckpointError, match="step-000003 could not be written"
        ) as e:
            go_on(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(e.value) and "step-000002 is whole" in str(e.value)
    assert [step for step, _ in checkpoint.checkpoints(run)] == [1, 2]
    assert not list(run.glob(".tmp-*"))
    assert go_on(run).step == STEPS


@pytest.mark.slow
def test_sigkill_at_20_random_moments_of_a_run(tmp_path: Path) -> None:
    """Ten at an operation on files, so mostly in the middle of a save; ten at any time."""
    forked.start(tiny.train_and_die, tmp_path / "whole", 0).join(60)
    events, seconds = json.loads((tmp_path / "whole.json").read_text())
    chance = random.Random(11)
    moments: list[tuple[int, float | None]] = [
        (at, None) for at in chance.sample(range(1, events + 1), 10)
    ]
    moments += [(0, chance.uniform(0, 0.7) * seconds) for _ in range(10)]
    for number, (at, delay) in enumerate(moments):
        run = tmp_path / f"run-{number}"
        while killed_at(run, at, delay) != -signal.SIGKILL:  # it was over before that moment
            assert delay is not None
            shutil.rmtree(run)
            delay /= 2
        result = tiny.fit(tiny.config(steps=6, save_every=1), run, dropout=0.3)
        assert result.step == 6 and not list(run.glob(".tmp-*"))
        for file in ("model.safetensors", "train_state.pt"):
            ours, theirs = (r / "step-000006" / file for r in (run, tmp_path / "whole"))
            assert ours.read_bytes() == theirs.read_bytes(), (number, at, delay, file)


def killed_at(run: Path, at: int, delay: float | None) -> int | None:
    """The exit code of a run that is killed at an operation, or a time after it began."""
    process = forked.start(tiny.train_and_die, run, at)
    if delay is not None:
        while not run.exists() and process.is_alive():
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
    process.join(60)
    return process.exitcode
