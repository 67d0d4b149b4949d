"""``vlcourse retrieve``: the right pictures come first, and what cannot be done is said."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vlcourse import cli, recipes
from vlcourse.data import world
from vlcourse.recipes import RECIPES


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six one-object scenes at twice the size, one of them in a subfolder."""
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "more").mkdir()
    kinds = [("red", "circle"), ("blue", "square"), ("green", "star")]
    kinds += [("white", "ring"), ("pink", "cross"), ("yellow", "triangle")]
    for i, (colour, shape) in enumerate(kinds):
        scene = world.Scene((world.Object(colour, shape, "large", 0.5, 0.5, 0.2),), seed=i)
        pixels = scene.render(64).permute(1, 2, 0).numpy()
        place = folder / "more" if i == 5 else folder
        Image.fromarray(pixels).save(place / f"{colour}-{shape}.png")
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[list[str], str]:
    assert cli.main(["retrieve", *map(str, words)]) == 0
    out, err = capsys.readouterr()
    return out.splitlines(), err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert cli.main(["retrieve", *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("vlcourse: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("name", ["white-ring", "more/yellow-triangle", "red-circle"])
def test_the_right_picture_comes_first(
    name: str, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "a " + Path(name).name.replace("-", " ")
    lines, err = said(capsys, text, scenes, "--top", 3)
    scores = [float(line.split()[0]) for line in lines]
    assert len(lines) == 3 and scores == sorted(scores, reverse=True) and err == ""
    assert lines[0].endswith(f"  {scenes / name}.png")


def test_a_broken_picture_is_skipped_and_said(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no picture")
    lines, err = said(capsys, "a red circle", tmp_path, scenes)
    assert len(lines) == 5 and "red-circle.png" in lines[0]
    assert "skipped 1 of 7" in err and "broken.png" in err
    assert "skipped 1 of 1" in refused(capsys, "a red circle", tmp_path)


def test_photos(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """clip-cifar among 60 CIFAR photos, six of each class: most of the best five are right."""
    table = pq.read_table(shared_data / "cifar10" / "test.parquet").slice(0, 400).to_pylist()
    picture, label = list(table[0])[:2]
    for number in range(10):
        rows = [row for row in table if row[label] == number][:6]
        for i, row in enumerate(rows):
            raw = io.BytesIO(row[picture]["bytes"])
            Image.open(raw).save(tmp_path / f"{number}-{i}.png")
    right = 0
    for number, name in ((1, "automobile"), (8, "ship"), (6, "frog")):
        text = f"a photo of a {name}."
        lines, _ = said(capsys, text, tmp_path, "--model", "clip-cifar")
        right += sum(Path(line.split()[1]).name.startswith(f"{number}-") for line in lines)
    assert right >= 9


def test_what_is_refused(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'clip-toy'" in refused(capsys, "a", scenes, "--model", "clip-toi")
    assert "holds no pictures" in refused(capsys, "a", tmp_path)
    assert "no such picture" in refused(capsys, "a", tmp_path / "nothing")
    assert "the text is empty" in refused(capsys, " ", scenes)
    assert "a text and a folder" in refused(capsys, "a red circle")
    assert "--top 0" in refused(capsys, "a", scenes, "--top", 0)
    assert "tokens" in refused(capsys, "a red circle and " * 40, scenes)
    assert "LLaMA, which does not" in refused(capsys, "a", scenes, "--model", "llm-toy")
    assert "vlcourse train clip-rn50" in refused(capsys, "a", scenes, "--model", "clip-rn50")
    assert "neither config.json" in refused(capsys, "a", scenes, "--model", tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert "not a table of settings" in refused(capsys, "a", scenes, "--model", tmp_path)
    (tmp_path / "config.json").write_text('{"name": "clip-torn"}')
    assert "names no recipe" in refused(capsys, "a", scenes, "--model", tmp_path)
    (tmp_path / "config.json").write_text('{"name": "clip-toy", "model": 3}')
    assert "does not describe a run" in refused(capsys, "a", scenes, "--model", tmp_path)


def test_a_run_with_changed_settings(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A folder's own settings shape its model; a run in runs/ goes before what ships."""
    changes = ["model.embed=48", "model.text.layers=1", "train.steps=1", "train.batch_size=2"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipes.Recipe, "evaluator", lambda self: lambda model: {})
    assert cli.main(["train", "clip-toy", *changes]) == 0
    capsys.readouterr()
    by_name, err = said(capsys, "a star", scenes, "--model", "clip-toy")
    by_folder, _ = said(capsys, "a star", scenes, "--model", "runs/clip-toy")
    assert by_name == by_folder and len(by_name) == 5
    assert err == "weights: runs/clip-toy/step-000001\n"
    shipped, _ = said(capsys, "a star", scenes, "--model", shipped_folder())
    assert shipped != by_name


def shipped_folder() -> Path:
    from vlcourse import paths

    return paths.checkpoints_dir() / "clip-toy"


def test_settings_come_back() -> None:
    from vlcourse.commands.models import restored
    from vlcourse.recipes import Part

    for recipe in RECIPES.values():
        assert restored(recipe, recipes_json(recipe)) == recipe
    other = RECIPES["clip-vit-l14-336"]
    assert other.parts and isinstance(restored(other, recipes_json(other)).parts[0], Part)


def recipes_json(recipe: recipes.Recipe) -> dict:
    import json

    return json.loads(json.dumps(asdict(recipe)))


def test_a_transformers_folder(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CLIP of transformers' with CLIP's own tokenizer; scores are those of our model."""
    pytest.importorskip("open_clip")
    from vlcourse import weights
    from vlcourse.models.clip import CLIPConfig, TextConfig
    from vlcourse.models.vit import ViTConfig

    torch.manual_seed(0)
    image = ViTConfig(image_size=32, patch_size=8, width=64, layers=1, heads=2)
    config = CLIPConfig(32, image, TextConfig(width=32, layers=1, heads=2))
    weights.save_hf(config.build(), tmp_path)
    lines, _ = said(capsys, "a star", scenes, "--model", tmp_path)
    assert len(lines) == 5
