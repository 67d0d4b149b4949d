"""LLaMA's runs: the paper's numbers, and the same command in small on real text, to the end."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file

from vlcourse import cli, overrides
from vlcourse.data.sources.decode import SourceError
from vlcourse.engine import log as engine_log
from vlcourse.models.llama import PRESETS
from vlcourse.recipes import RECIPES, Recipe
from vlcourse.recipes.llama import LLAMA_RUNS, DocumentData

# Touvron et al. 2023, table 2: preset, parameters, peak learning rate, tokens.
PAPER = {
    "llama-7b": ("7B", 6_738_415_616, 3e-4, 1.0e12),
    "llama-13b": ("13B", 13_015_864_320, 3e-4, 1.0e12),
    "llama-33b": ("33B", 32_528_943_616, 1.5e-4, 1.4e12),
    "llama-65b": ("65B", 65_285_660_672, 1.5e-4, 1.4e12),
}
VOCABULARY = 500


def test_each_published_model_has_its_recipe() -> None:
    assert [run[0] for run in LLAMA_RUNS] == list(PAPER)
    assert [run[1] for run in LLAMA_RUNS] == list(PRESETS)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_numbers(name: str) -> None:
    shape, parameters, lr, tokens = PAPER[name]
    recipe, train = RECIPES[name], RECIPES[name].train
    per_step = train.batch_size * recipe.data.context * train.accumulate
    assert per_step == 4 * 2**20 and recipe.data.context == recipe.model.context == 2048
    assert train.steps == round(tokens / per_step)
    assert abs(train.steps * per_step - tokens) <= per_step / 2
    assert (train.lr, train.warmup, train.min_lr) == (lr, 2000, 0.1)
    assert (train.beta1, train.beta2, train.weight_decay, train.clip_norm) == (0.9, 0.95, 0.1, 1.0)
    run = recipe.run
    assert run.parallel == "fsdp" and run.precision == "bf16" and run.checkpointing
    assert recipe.model == PRESETS[shape] and recipe.model.vocab_size == 32_000
    assert isinstance(recipe.data, DocumentData) and recipe.data.tokenizer == "tokenizer.model"
    with torch.device("meta"):
        model = recipe.build_model()
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_help_shows_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "llama-7b", "data.source=books", "--help"]) == 0
    said = capsys.readouterr().out
    recipe = RECIPES["llama-7b"]
    for part in ("model", "data", "train", "run"):
        for field in dataclasses.fields(getattr(recipe, part)):
            assert f"\n  {part}.{field.name}=" in said
    for shown in ("data.source=books", "data.context=2048", "train.lr=0.0003", "tokenizer.model"):
        assert shown in said


# ---------------------------------------------------------------- a small run on real text


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of some of Python's own modules as texts, and a tokenizer made of them."""
    folder = tmp_path_factory.mktemp("texts")
    library = Path(sysconfig.get_path("stdlib"))
    sources = [(library / "json" / f"{name}.py") for name in ("decoder", "encoder", "scanner")]
    sources += [library / f"{name}.py" for name in ("bisect", "heapq", "shlex", "queue", "sched")]
    (folder / "modules").mkdir()
    for source in sources:
        (folder / "modules" / f"{source.stem}.txt").write_text(source.read_text("utf-8"), "utf-8")
    lines = "".join(source.read_text("utf-8") for source in sources).splitlines()
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(  # with the settings of LLaMA's
        sentence_iterator=iter(lines), model_writer=made, vocab_size=VOCABULARY, model_type="bpe",
        byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, character_coverage=1.0, num_threads=1, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(made.getvalue())
    return folder


def command(texts: Path, *more: str) -> list[str]:
    """``vlcourse train llama-7b …``, smaller by five orders of magnitude."""
    small = (
        "model.width=32", "model.layers=2", "model.heads=2", f"model.vocab_size={VOCABULARY}",
        "model.context=48", "data.context=48", "train.batch_size=8", "train.steps=30",
        "train.warmup=4", "train.lr=0.02", "train.parallel=none", "train.precision=float32",
        "train.log_every=1", "train.eval_every=0", "train.save_every=0", "train.workers=0",
    )  # fmt: skip
    where = (f"data.source={texts / 'modules'}", f"data.tokenizer={texts / 'tokenizer.model'}")
    return ["train", "llama-7b", *small, *where, *more]


def log(run: Path) -> dict[int, tuple[float, float]]:
    """Step → loss and gradient norm."""
    return {int(row["step"]): (row["loss"], row["grad_norm"]) for row in engine_log.read(run)}


@pytest.fixture(scope="module")
def whole(texts: Path) -> Path:
    """The run folder of a run without an interruption."""
    run = texts / "whole"
    assert cli.main([*command(texts), "--out", str(run)]) == 0
    return run


def test_a_small_llama_learns_real_text(
    whole: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = [loss for loss, _ in log(whole).values()]
    assert len(losses) == 30 and 5.8 < losses[0] < 6.9  # ln 500 = 6.2
    assert sum(losses[-5:]) / 5 < losses[0] - 1.5
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["step"] == 30 and 2 < metrics["test_loss"] < losses[0] - 1
    words = ["eval", *command(texts)[1:], "--checkpoint", str(whole)]
    assert cli.main(words) == 0
    name, value = capsys.readouterr().out.split()
    assert name == "test_loss" and float(value) == pytest.approx(metrics["test_loss"], abs=1e-4)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_run_goes_on_exactly(
    whole: Path, texts: Path, tmp_path: Path, workers: int, monkeypatch, capsys
) -> None:
    def stop(model: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    words = [*command(texts, f"train.workers={workers}"), "--out", str(run)]
    with monkeypatch.context() as patch:
        patch.setattr(Recipe, "evaluator", lambda self: stop)
        assert cli.main([*words, "train.eval_every=11"]) == 130
    assert "stopped after step 11 of 30; saved" in capsys.readouterr().err
    assert cli.main(words) == 0
    before, after = log(whole), log(run)
    assert {step: before[step] for step in after} == after  # bit for bit
    assert len(after) >= 29  # the interrupted step was not logged
    ours, theirs = (load_file(r / "step-000030" / "model.safetensors") for r in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_two_ranks_train_what_one_process_trains(texts: Path, tmp_path: Path) -> None:
    words = command(texts, "train.steps=6", "train.lr=0.005")
    assert cli.main([*words, "--out", str(tmp_path / "one")]) == 0
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    two = [*torchrun, "vlcourse", *words, "train.parallel=fsdp", "--out", str(tmp_path / "two")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VLCOURSE_DEVICE": "cpu"}
    environment["PYTHONPATH"] = str(Path(cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *two], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two_ranks = log(tmp_path / "one"), log(tmp_path / "two")
    assert two_ranks.keys() == one.keys()
    for step, values in one.items():
        assert two_ranks[step] == pytest.approx(values, abs=1e-4), step
    ours, expected = (
        json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("two", "one")
    )
    assert ours["test_loss"] == pytest.approx(
        expected["test_loss"], abs=0.02
    )  # an odd one is left out


# ---------------------------------------------------------------- what is refused


def test_refusals_are_one_sentence(
    texts: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLCOURSE_SHARED_DATA", raising=False)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "rows.jsonl").write_text('{"image": "a.jpg", "n": 1}\n' * 20)
    (tmp_path / "bad.model").write_text("no tokenizer")
    refused = {
        "data.source=mixture": "data.source=mixture: this folder is in none of .*name a path",
        "data.source=./nothing": "there is no file or folder ./nothing",
        "data.source=texts.jsonl": "there is no file texts.jsonl",
        "data.source=./pictures": "pictures holds no .txt, .jsonl, .json, .parquet file",
        "data.source=rows.jsonl": "rows.jsonl has no column 'text'",
        "data.tokenizer=t.model": "no LLaMA tokenizer at t.model.*with data.tokenizer=",
        "data.tokenizer=bad.model": "bad.model is damaged or no SentencePiece model",
        "model.vocab_size=499": "has 500 ids, but model.vocab_size is 499",
    }
    for change, said in refused.items():
        assert cli.main([*command(texts, change), "--out", "run"]) == 2, change
        error = capsys.readouterr().err
        assert error.startswith("vlcourse: ") and error.count("\n") == 1, error
        assert re.search(said, error), error
    assert not (tmp_path / "run").exists()


def test_a_limit_on_the_documents_holds(texts: Path) -> None:
    changes = [*command(texts)[2:], "data.n_train=1"]
    recipe = overrides.apply(RECIPES["llama-7b"], changes)
    keys = {window["id"].split(":")[0] for window in recipe.build_data("train")}
    assert len(keys) == 1
    with pytest.raises(SourceError, match="no split"):
        recipe.build_data("heldout")
