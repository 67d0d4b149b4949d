"""Models by name: shipped and checked, or trained once into the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import nn

from vlcourse import engine, recipes, zoo
from vlcourse.engine.checkpoint import CheckpointError


@dataclass(frozen=True)
class TinyRecipe:
    """What vlcourse.recipes.Recipe offers, around the tiny model."""

    name: str = "tiny-toy"
    doc: str = "A test."
    width: int = 8
    parts: tuple[recipes.Part, ...] = ()
    train: engine.TrainConfig = field(default_factory=lambda: tiny.config(steps=4).train)
    run: engine.RunConfig = engine.RunConfig()

    def build_model(self) -> nn.Module:
        return tiny.Tiny(width=self.width)

    def build_data(self, split: str) -> tiny.Pairs:
        return tiny.Pairs(40)

    def collate(self, train: bool) -> Callable[..., dict[str, Any]]:
        return tiny.collate

    def evaluator(self) -> Callable[[nn.Module], dict[str, float]]:
        return tiny.evaluate


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and a zoo with one recipe."""
    monkeypatch.setenv("VLCOURSE_DATA", str(tmp_path))
    monkeypatch.setattr(zoo, "RECIPES", {"tiny-toy": TinyRecipe()})
    return tmp_path


def test_missing_weights_are_trained_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.load("tiny-toy")
    assert not model.training
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert (data / "cache" / "zoo" / "tiny-toy" / "model.safetensors").is_file()
    assert zoo.card("tiny-toy")["steps"] == 4
    assert not list((data / "cache" / "zoo").glob(".tmp-*"))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(zoo, "train_recipe", refuse)
    again = zoo.load("tiny-toy")
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    changed = replace(TinyRecipe(), train=tiny.config(steps=5).train)  # it is out of date
    monkeypatch.setattr(zoo, "RECIPES", {"tiny-toy": changed})
    with pytest.raises(AssertionError, match="trained again"):
        zoo.load("tiny-toy")


def test_publish_ships_half_weights_with_a_true_card(data: Path) -> None:
    folder = zoo.publish("tiny-toy")
    assert folder == data / "checkpoints" / "tiny-toy"
    stored = load_file(folder / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float16, torch.int64}
    assert "text.weight" not in stored  # shared, so stored once
    card = json.loads((folder / "card.json").read_text())
    assert card["recipe"]["train"]["lr"] == 0.01 and card["seed"] == 3
    assert card["sha256"] == zoo.sha256(folder / "model.safetensors")
    model = zoo.load("tiny-toy")
    assert card["metrics"] == tiny.evaluate(model)  # measured on the very file
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert card["versions"]["torch"] == torch.__version__
    assert not (data / "cache").exists()
    *rows, last = zoo.log("tiny-toy")  # evaluated once, at the end, before the weights were halved
    losses = {"step", "loss", "itc", "size"}  # the sum, and each of several
    assert last.keys() == {*losses, *card["metrics"]} and last["step"] == 4
    assert all(row.keys() == losses for row in rows)
    zoo.publish("tiny-toy", run=data / "run")  # replaces it
    assert (data / "run" / "step-000004").is_dir()
    assert sorted(p.name for p in (data / "checkpoints").iterdir()) == ["tiny-toy"]


def test_the_seed_decides_the_weights(data: Path) -> None:
    first = zoo.sha256(zoo.publish("tiny-toy") / "model.safetensors")
    torch.rand(5)
    assert zoo.sha256(zoo.publish("tiny-toy") / "model.safetensors") == first


def test_damaged_weights_are_refused(data: Path) -> None:
    file = zoo.publish("tiny-toy") / "model.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(zoo.ZooError, match="damaged: its sha256 is not the one on its card"):
        zoo.load("tiny-toy")
    (file.parent / "card.json").unlink()
    with pytest.raises(zoo.ZooError, match="no card.json"):
        zoo.load("tiny-toy")


def test_weights_of_another_shape_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo.publish("tiny-toy")
    monkeypatch.setattr(zoo, "RECIPES", {"tiny-toy": replace(TinyRecipe(), width=16)})
    with pytest.raises(CheckpointError, match="does not fit Tiny"):
        zoo.load("tiny-toy")


def test_a_failed_training_leaves_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: nn.Module) -> dict[str, float]:
        raise OSError("disk full")

    monkeypatch.setattr(tiny, "evaluate", fail)
    with pytest.raises(OSError, match="disk full"):
        zoo.load("tiny-toy")
    assert not [path for path in data.rglob("*") if path.is_file()]


def test_unknown_names_are_refused_with_the_nearest(data: Path) -> None:
    for call in (zoo.load, zoo.publish, zoo.card):
        with pytest.raises(zoo.ZooError, match="no model 'tiny-tyo'; did you mean 'tiny-toy'"):
            call("tiny-tyo")
    with pytest.raises(zoo.ZooError, match="has no card yet"):
        zoo.card("tiny-toy")
    with pytest.raises(zoo.ZooError, match="has no log"):
        zoo.log("tiny-toy")
