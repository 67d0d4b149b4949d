"""``vlcourse capfilt``: from the words of a command to a data set that trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_blips

from vlcourse import cli, zoo
from vlcourse.commands import capfilt, models
from vlcourse.data.sources import open_source
from vlcourse.data.world.web import WebWorld
from vlcourse.recipes import RECIPES


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    WebWorld(n=12, rate=0.5).write(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """--captioner and --filter with tiny models of transformers."""
    place = tmp_path_factory.mktemp("models")
    write = tiny_blips.write_transformers(place / "c", "BlipForConditionalGeneration")
    match = tiny_blips.write_transformers(place / "j", "BlipForImageTextRetrieval", 1)
    return ["--captioner", str(write), "--filter", str(match)]


def test_the_command_writes_a_data_set_that_a_recipe_trains_on(
    noisy: Path, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["capfilt", str(noisy), str(out), *folders, "--threshold", "0.2", "--limit", "10"]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    made = json.loads((out / "report.json").read_text())
    assert made["rows"] == 10 and made["settings"]["threshold"] == 0.2
    assert made["settings"]["captioner"].endswith("/c, nucleus")
    assert f"web          {made['texts']['web']['kept']} of 10 kept" in said.out
    assert "10 of 10 rows" in said.err and "rows/s" in said.err and "left" in said.err
    kept: Any = open_source(out / "kept")
    assert len(kept) == sum(count["kept"] for count in made["texts"].values()) >= 10
    train = ["clip-capstone", f"data.source={out / 'kept'}", "train.steps=1", "train.batch_size=4"]
    assert cli.main(["train", *train, "--out", str(tmp_path / "run")]) == 0
    assert cli.main(words) == 0  # again: there is nothing left to do
    assert cli.main([*words, "--beam", "2"]) == 2  # another job
    assert "captioner=" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_by_the_command(
    noisy: Path, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(noisy), str(tmp_path / "out"), *folders, "--processes", "2", "--batch-size", "5"]
    assert cli.main(["capfilt", *words]) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["rows"] == 12
    assert str(tmp_path / "out" / "report.html") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["only-one", "--captioner", "a", "--filter", "b"], "name what is read"),
        (["IN", "OUT", "--captioner", "clip-toi", "--filter", "clip-toy"], "'clip-toy'"),
        (["IN", "OUT", "--captioner", "clip-toy", "--filter", "clip-toy"], "is a CLIP"),
        (["IN", "OUT", "--captioner", "a", "--filter", "b", "--processes", "0"], "1 or more"),
        (["IN", "OUT", "--captioner", "a", "--filter", "b", "--threshold", "7"], "threshold"),
        (["IN", "OUT", "--captioner", "a"], "--filter"),
        (["none.parquet", "OUT", "THEIRS"], r"none.parquet"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    words: list[str],
    said: str,
    noisy: Path,
    folders: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = {"IN": [str(noisy)], "OUT": [str(tmp_path / "out")], "THEIRS": folders}
    typed = [one for word in words for one in real.get(word, [word])]
    try:
        assert cli.main(["capfilt", *typed]) == 2
    except SystemExit as refused:
        assert refused.code == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "out" / "kept").exists()


def test_a_model_of_the_course_is_taken_for_what_it_was_trained(
    noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_blips.ours()
    monkeypatch.setattr(models, "find", lambda _: models.Named(model, tiny_blips.Words()))
    made = capfilt.clean(str(noisy), tmp_path / "out", "mine", "mine", {"threshold": 0.1}, beams=1)
    assert made is not None and made["rows"] == 12
    assert made["settings"]["captioner"] == "mine, beam 1"
    monkeypatch.setattr(models, "find", lambda _: models.Named(tiny_blips.ours(0, ("itc",)), None))
    with pytest.raises(capfilt.UsageError, match="not trained to write"):
        capfilt.clean(str(noisy), tmp_path / "no", "mine", "mine", {})


def test_which_names_are_of_the_transformers_library(folders: list[str], tmp_path: Path) -> None:
    assert not any(map(capfilt.is_theirs, [*RECIPES, *zoo.YOURS, "unknown", str(tmp_path)]))
    assert capfilt.is_theirs(folders[1]) and capfilt.is_theirs("Salesforce/blip-itm-base-coco")
    (tmp_path / "config.json").write_text('{"name": "blip-toy", "train": {}}')
    assert not capfilt.is_theirs(str(tmp_path))
