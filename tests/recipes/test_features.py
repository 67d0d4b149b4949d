"""Stored features of a frozen tower: the same run, and refused where they are another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vlcourse.data.collate.captions import CaptionCollate
from vlcourse.data.told import WorldTexts
from vlcourse.data.world import World
from vlcourse.engine import TrainConfig
from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.resnet import ResNetConfig
from vlcourse.recipes import RECIPES, features, train_recipe
from vlcourse.recipes.blip2 import TOY_BLIP2, TOY_QFORMER
from vlcourse.recipes.blip2_data import BLIP2Data
from vlcourse.recipes.features import Store, key_of, with_features
from vlcourse.recipes.recipe import Recipe, RecipeError
from vlcourse.tokenizers import med

TOWER = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1))
TINY = BLIP2Config(
    embed=8, image=TOWER,
    qformer=replace(TOY_QFORMER, queries=2, width=16, layers=2, heads=2, image_width=64),
)  # fmt: skip
RECIPE = Recipe(
    "blip2-toy", "tiny", TINY, BLIP2Data(objects=(1, 2), n_train=8),
    TrainConfig(steps=3, batch_size=4, warmup=0),
)  # fmt: skip


def tiny(seed: int = 0) -> BLIP2:
    torch.manual_seed(seed)
    return TINY.build()


def stored(model: Any, dataset: Any, folder: Path, augment: Any = "none") -> Any:
    return with_features(model, dataset, CaptionCollate(med.toy(), augment=augment), folder)


def test_a_run_from_features_is_the_run_from_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BLIP2Data, "measure", lambda *_: lambda model: {})
    seen = train_recipe(RECIPE, save=False).model.state_dict()
    cached = replace(RECIPE, run=replace(RECIPE.run, features=str(tmp_path / "f")))
    once = train_recipe(cached, save=False).model.state_dict()
    monkeypatch.setattr(features, "_compute", None)  # nothing is computed again
    again = train_recipe(cached, save=False).model.state_dict()
    for name, tensor in seen.items():
        torch.testing.assert_close(once[name], tensor, rtol=1e-4, atol=1e-5)
        assert torch.equal(again[name], once[name])
    other = tiny(7).state_dict()
    assert not torch.allclose(seen["qformer.queries"], other["qformer.queries"])


def test_what_is_missing_is_added_and_each_picture_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SHARD", 4)
    model, folder = tiny(), tmp_path / "f"
    stored(model, World("train", 6), folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "00000.safetensors", "00001.safetensors", "tower.json",
    ]  # fmt: skip
    told = WorldTexts(World("train", 9), 30)
    dataset = stored(model, told, folder)
    assert len(dataset.store.places) == 9 and len(dataset) == 30
    for sample, plain in zip(
        dataset.__getitems__([2, 8, 29]), told.__getitems__([2, 8, 29]), strict=True
    ):
        assert "image" not in sample and sample["parts"] == plain["parts"]
        batch = CaptionCollate(med.toy())([{**plain, "caption": "a"}])
        expected = model.image_features(batch["pixels"])[0]
        torch.testing.assert_close(sample["features"], expected, rtol=1e-4, atol=1e-5)


def test_a_run_that_was_stopped_goes_on_from_the_last_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SHARD", 4)
    model, computed = tiny(), []
    plain = features._compute

    def stops(*arguments: Any) -> None:
        computed.append(len(arguments[2]))
        if len(computed) == 2:
            raise KeyboardInterrupt
        plain(*arguments)

    monkeypatch.setattr(features, "_compute", stops)
    with pytest.raises(KeyboardInterrupt):
        stored(model, World("train", 10), tmp_path)
    stored(model, World("train", 10), tmp_path)
    assert computed == [4, 4, 4, 2]


def test_features_of_another_tower_or_of_other_pictures_are_refused(tmp_path: Path) -> None:
    dataset = stored(tiny(), World("train", 4), tmp_path)
    with pytest.raises(RecipeError, match="features of another tower .*name another folder"):
        stored(tiny(1), World("train", 4), tmp_path)
    with pytest.raises(RecipeError, match="no features of the picture of world/train-1/0"):
        features.WithFeatures(World("train", 4, seed=1), dataset.store)[0]
    with pytest.raises(RecipeError, match="holds other things than features"):
        Store(tmp_path.parent, "0", 32)
    (tmp_path / "00000.safetensors").write_bytes(b"broken")
    with pytest.raises(RecipeError, match="00000.safetensors is damaged"):
        stored(tiny(), World("train", 4), tmp_path)


def test_only_a_frozen_tower_and_unchanged_pictures_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World("train", 4)
    tuned = replace(TINY, tune_image=True).build()
    with pytest.raises(RecipeError, match="only a frozen image tower .* this BLIP2 has none"):
        stored(tuned, world, tmp_path)
    with pytest.raises(RecipeError, match="data.augment=crop changes the pictures"):
        stored(tiny(), world, tmp_path, "crop")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="begin it once in one process"):
        stored(tiny(), world, tmp_path)


def test_a_key_knows_the_pixels_and_their_shape() -> None:
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    other = image.clone()
    other[0, 3, 4] = 1
    assert len({key_of(image), key_of(other), key_of(torch.zeros(3, 16, 64).byte())}) == 3
    assert key_of(image) == key_of(image.clone()) >= 0


def test_the_recipes_tower_is_frozen() -> None:
    assert RECIPES["blip2-toy"].model == TOY_BLIP2
    assert RECIPES["blip2-toy"].parts[0].frozen
