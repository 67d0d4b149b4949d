"""The command line: what it runs, what it refuses, and that a refusal is one sentence."""

from __future__ import annotations

import dataclasses
import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vlcourse import VlcourseError, cli
from vlcourse.teach.checking import CheckFailed

COMMANDS = tuple(
    "course lab train eval checkpoints claims build grade caption retrieve chat doctor".split()
)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one sentence with which a command is refused; the exit code must be 2."""
    try:
        code: Any = cli.main(list(argv))
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.startswith("vlcourse: ") and said.err.count("\n") == 1, said.err
    return said.err


def test_help_names_every_command() -> None:
    command = [sys.executable, "-m", "vlcourse", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in COMMANDS:
        assert f"\n    {name}" in said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("build", "executed again when its code has changed, or a module that it imports itself"),
        ("grade", "An answer written to cheat this very grader may succeed"),
    ],
)
def test_help_says_what_it_covers(
    command: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_wrong_command_or_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert "invalid choice: 'trian'" in refused(capsys, "trian")
    assert "command" in refused(capsys)
    assert "'--what'" in refused(capsys, "doctor", "--what")
    assert "'extra'" in refused(capsys, "doctor", "extra")
    assert "--port" in refused(capsys, "lab", "--port", "many")


@pytest.mark.parametrize("command", ["train", "eval", "checkpoints"])
def test_an_unknown_recipe(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no recipe 'clip-toi'; did you mean 'clip-toy'?" in refused(capsys, command, "clip-toi")


@pytest.mark.parametrize("command", ["train", "eval"])
def test_no_recipe_at_all(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "vlcourse train --help" in refused(capsys, command)


@pytest.mark.parametrize(
    ("change", "answer"),
    [("train.lrr=1", "train.lr"), ("train.steps=many", "steps"), ("steps", "steps")],
)
def test_a_wrong_change(change: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer in refused(capsys, "train", "clip-toy", change)


def test_train_help_lists_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    from vlcourse.recipes import RECIPES

    assert cli.main(["train", "--help"]) == 0
    said = capsys.readouterr().out
    for name in RECIPES:
        assert f"\n  {name} " in said
    assert "--out DIR" in said and "--fresh" in said


def test_ask_help_lists_who_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    from vlcourse.chat.talkers import OFFERS

    with pytest.raises(SystemExit):
        cli.main(["ask", "--help"])
    said = capsys.readouterr().out
    assert {f"  {offer.name:22} {offer.doc}" for offer in OFFERS} <= set(said.splitlines())


def test_recipe_help_shows_every_field_with_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    from vlcourse.recipes import RECIPES

    assert cli.main(["train", "clip-toy", "train.lr=0.0125", "--help"]) == 0
    said = capsys.readouterr().out
    recipe = RECIPES["clip-toy"]
    for part in ("data", "train"):
        for field in dataclasses.fields(getattr(recipe, part)):
            assert f"\n  {part}.{field.name}=" in said
    assert "train.lr=0.0125" in said
    assert "Peak learning rate" in said


@pytest.mark.parametrize("words", [["--out", "there", "--fresh"], []])
def test_train_passes_on_what_was_typed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vlcourse import recipes

    calls = []

    def record(recipe: Any, out: Path | None = None, resume: bool = True) -> SimpleNamespace:
        calls.append((recipe.name, recipe.train.steps, recipe.train.lr, out, resume))
        return SimpleNamespace(metrics={"recall": 0.25})

    monkeypatch.setattr(recipes, "train_recipe", record)
    assert cli.main(["train", "clip-toy", "train.steps=3", *words, "train.lr=1e-4"]) == 0
    out, resume = (Path("there"), False) if words else (None, True)
    assert calls == [("clip-toy", 3, 1e-4, out, resume)]
    assert capsys.readouterr().out.split() == ["recall", "0.2500"]


def test_train_then_eval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vlcourse.recipes import Recipe

    def scale(model: Any) -> dict[str, float]:
        """A measurement that depends on the weights and takes no time."""
        return {"sum": sum(p.sum().item() for p in model.parameters())}

    monkeypatch.setattr(Recipe, "evaluator", lambda self: scale)
    changes = ["train.steps=2", "train.batch_size=4", "data.n_train=16"]
    run = str(tmp_path / "run")
    assert cli.main(["train", "clip-toy", *changes, "--out", run]) == 0
    trained = capsys.readouterr().out.splitlines()[-1]
    assert trained.startswith("sum ")
    for folder in (run, f"{run}/step-000002"):
        assert cli.main(["eval", "clip-toy", *changes, "--checkpoint", folder]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == trained


def test_eval_of_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "nothing"
    assert str(missing) in refused(capsys, "eval", "clip-toy", "--checkpoint", str(missing))
    said = refused(capsys, "eval", "clip-toy", "model.embed=8")
    assert "--checkpoint" in said


def test_claims(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from vlcourse.teach import claims

    ran, rewritten = [], []
    monkeypatch.setattr(claims, "run", ran.append)
    monkeypatch.setattr("vlcourse.teach.notebooks.readme.rewrite", lambda: rewritten.append(True))
    assert "'clip.zero_shot'" in refused(capsys, "claims", "clip.zeroshot")
    assert cli.main(["claims", "--show"]) == 0
    assert "`clip.zero_shot`" in capsys.readouterr().out
    assert ran == rewritten == []
    assert cli.main(["claims", "clip.zero_shot"]) == cli.main(["claims"]) == 0
    assert ran == [["clip.zero_shot"], None] and len(rewritten) == 2


def test_build(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from vlcourse.teach.notebooks import build

    calls = []
    monkeypatch.setattr(build, "build", lambda names, force: calls.append((names, force)))
    monkeypatch.setattr(build, "check", lambda names: ["01_clip: stale"] if names else [])
    assert cli.main(["build", "--force", "01_clip"]) == cli.main(["build"]) == 0
    assert calls == [(["01_clip"], True), (None, False)]
    assert cli.main(["build", "--check"]) == 0
    assert cli.main(["build", "01_clip", "--check"]) == 1
    assert capsys.readouterr().err == "01_clip: stale\n"


def test_lab_stays_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(subprocess, "call", lambda command: calls.append(command) or 0)
    assert cli.main(["lab", str(tmp_path), "--port", "9001", "--no-browser"]) == 0
    assert cli.main(["lab", str(tmp_path)]) == 0
    for command in calls:
        assert command[1:4] == ["-m", "jupyterlab", str(tmp_path)]
        assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.port=9001" in calls[0] and "--no-browser" in calls[0]
    assert "--no-browser" not in calls[1]
    assert "not a folder" in refused(capsys, "lab", str(tmp_path / "nothing"))


@pytest.mark.parametrize("command", ["course", "build", "lab"])
def test_a_package_without_its_lectures(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vlcourse.paths.in_checkout", lambda: False)
    assert "clone https://" in refused(capsys, command)


def test_checkpoints_publishes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from vlcourse import recipes, zoo

    published: list[str] = []
    monkeypatch.setattr(zoo, "publish", published.append)
    assert cli.main(["checkpoints", "clip-toy"]) == 0
    assert published == ["clip-toy"]
    assert cli.main(["checkpoints"]) == 0
    assert published[1:] == list(recipes.SHIPPED) and published[1:]


def broken(error: BaseException) -> Any:
    def run(out: Path) -> None:
        raise error

    return run


def test_errors_of_the_user_are_sentences_and_bugs_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vlcourse.teach.notebooks import build

    sentences: list[tuple[Exception, str]] = [
        (build.BuildError("01_clip: cell 3 fails"), "01_clip: cell 3 fails"),
        (FileNotFoundError(2, "No such file or directory", "x.pt"), "x.pt: No such file"),
        (PermissionError(13, "Permission denied", "/root"), "/root: Permission denied"),
        (ImportError("no module named av", name="av"), "vlcourse doctor"),
        (VlcourseError("any error of ours"), "any error of ours"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
    ]
    for error, sentence in sentences:
        monkeypatch.setattr(build, "course", broken(error))
        assert sentence in refused(capsys, "course")
    bugs = (ValueError("x"), KeyError("x"), RuntimeError("x"), CheckFailed("x"), OSError("x"))
    for bug in (*bugs, ImportError("x", name="vlcourse.nothing")):
        monkeypatch.setattr(build, "course", broken(bug))
        with pytest.raises(type(bug)):
            cli.main(["course"])
    monkeypatch.setattr(build, "course", broken(KeyboardInterrupt()))
    assert cli.main(["course"]) == 130


def test_words_that_a_terminal_cannot_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert r"control character, 'clip\ntoy'" in refused(capsys, "train", "clip\ntoy")
    assert "control character" in refused(capsys, "train", "clip-toy", "--out", "a\x1b[31mb")
    for words in (
        ["x" * 100_000],
        ["clip-toy", "train.lr=" + "9" * 5000 + "x"],
        ["--" + "y" * 5000],
    ):
        assert len(refused(capsys, "train", *words)) < 1200


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes on Windows")
def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "vlcourse", "claims", "--show"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout and child.stderr
    child.stdout.close()
    assert (child.stderr.read(), child.wait()) == ("", 0)
