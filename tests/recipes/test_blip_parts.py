"""Runs that begin from others: BLIP's tower from a CLIP, an answerer from a BLIP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vqa import BLIPAnswerer, BLIPAnswererConfig
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.med import MEDConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.recipes.parts import frozen, started
from vlcourse.recipes.recipe import Part, Recipe, RecipeError
from vlcourse.weights.state import trained_of, weights_of, write_weights

GRID = ResNetConfig(image_size=16, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1))
TEXT = MEDConfig(
    vocab_size=31, context=12, width=12, layers=2, heads=3, image_width=64, cls=27, sep=28, dec=29,
    enc=30,
)  # fmt: skip
CLIP = CLIPConfig(6, GRID, TextConfig(31, context=12, width=12, layers=1, heads=3))
PRETRAINED = BLIPConfig(6, GRID, TEXT, queue=4)
ANSWERER = BLIPAnswererConfig(GRID, replace(TEXT, sharing="none", source_width=12), embed=6)


def recipe(name: str, model: Any, *parts: Part) -> Recipe:
    data: Any = None  # nothing is read here
    return Recipe(name, "", model, data, parts=parts)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Recipe]:
    """Two runs that were trained."""
    monkeypatch.chdir(tmp_path)
    found = {"clip": recipe("clip", CLIP), "blip": recipe("blip", PRETRAINED)}
    for name, each in found.items():
        torch.manual_seed(1)
        (tmp_path / "runs" / name).mkdir(parents=True)
        weights = weights_of(each.build_model())
        write_weights(tmp_path / "runs" / name / "model.safetensors", weights)
    return found


@pytest.mark.parametrize("still", [False, True])
def test_blips_tower_from_a_clip_and_its_twin_follows_in_training(
    table: dict[str, Recipe], still: bool
) -> None:
    run = recipe("new", PRETRAINED, Part("image", "clip", frozen=still))
    torch.manual_seed(2)
    model = started(run, table)
    torch.manual_seed(1)
    source = CLIP.build()
    model.train()
    assert isinstance(model, BLIP) and model.twin is not None
    for tower in (model.image, model.twin.get_submodule("image")):
        for name, tensor in source.image.state_dict().items():
            assert torch.equal(tower.state_dict()[name], tensor), name
    assert model.image.training != still
    assert ("image" in frozen(run, model)) == still
    names = trained_of(model, frozen(run, model))
    assert any(name.startswith("image.") for name in names) != still


def test_an_answerer_from_a_blip_of_its_shape(table: dict[str, Recipe]) -> None:
    model = started(recipe("new", ANSWERER, Part("", "blip")), table)
    torch.manual_seed(1)
    source = PRETRAINED.build()
    assert isinstance(model, BLIPAnswerer)
    assert torch.equal(model.text.head.dense.weight, source.text.head.dense.weight)
    assert torch.equal(model.image.pool.positions, source.image.pool.positions)
    with pytest.raises(RecipeError, match="new cannot start from blip: .* differ in more"):
        started(recipe("new", replace(ANSWERER, embed=7), Part("", "blip")), table)
