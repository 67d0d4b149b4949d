"""Which captions of a batch are true of which pictures, and what may then stand as a wrong one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vlcourse import losses
from vlcourse.data.collate.captions import CaptionCollate
from vlcourse.data.world import World
from vlcourse.data.world.web import Halved, WebWorld
from vlcourse.engine.config import TrainConfig
from vlcourse.layers.ranges import RangeError
from vlcourse.models import matching
from vlcourse.models.matching import hard_pairs
from vlcourse.recipes import RECIPES
from vlcourse.recipes.blip import TOY_BLIP, TOY_DATA
from vlcourse.recipes.recipe import RecipeError
from vlcourse.tokenizers import med

RUN = TrainConfig(steps=2, batch_size=16)


def test_half_of_the_captions_are_the_halves_of_a_web_without_other_noise() -> None:
    halved = Halved("train", 200, 32, (1, 2), seed=3, halves=40).__getitems__(range(200))
    web = WebWorld("train", 200, 32, (1, 2), seed=3, rate=0.4, mix={"half": 1}).__getitems__(
        range(200)
    )
    plain = World("train", 200, 32, (1, 2), seed=3).__getitems__(range(200))
    assert [s["caption"] for s in halved] == [str(s["caption"]) for s in web]
    changed = sum(a["caption"] != b["caption"] for a, b in zip(halved, plain, strict=True))
    assert 60 <= changed <= 100
    for sample in halved:
        assert sample["facts"] == sample["caption"].facts
        assert sample["scene"].is_true(sample["caption"])


def test_a_caption_fits_each_scene_that_it_is_true_of() -> None:
    samples = Halved("train", 48, 32, (1, 2), halves=50).__getitems__(range(48))
    fits = CaptionCollate(med.toy(), truth=True)(samples)["fits"]
    assert fits.shape == (48, 48) and fits.dtype == torch.bool and fits.diagonal().all()
    assert not torch.equal(fits, fits.T)  # "a red thing" is true of more than "a red ring" is
    others = fits.sum() - 48
    assert 10 < others < 48 * 12
    for row, column in fits.nonzero().tolist():
        assert samples[row]["scene"].is_true(samples[column]["caption"])
    assert "fits" not in CaptionCollate(med.toy())(samples)


def test_a_text_that_fits_is_never_drawn_as_wrong() -> None:
    n = 6
    fits = torch.eye(n, dtype=torch.bool)
    fits[0, 1:5] = True  # of image 0 only text 5 is false
    tokens = torch.arange(n * 3).view(n, 3)
    batch = {"tokens": tokens, "mask": torch.ones(n, 3, dtype=torch.bool), "fits": fits}
    like = torch.full((n, n), 5.0)
    like[0, 5] = -5.0  # and it looks least like it
    images = torch.arange(n)[:, None, None].float()
    for turn in range(20):
        torch.manual_seed(turn)
        pairs = hard_pairs(like, like.T, images, batch)
        wrong_text = pairs.tokens[n : 2 * n, 0] // 3
        assert wrong_text[0] == 5
        assert not fits[torch.arange(n), wrong_text].any()


def test_of_other_ranks_texts_nothing_is_known_so_none_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fits = torch.tensor([[True, False], [True, True]])
    monkeypatch.setattr(losses, "rank", lambda: 1)
    everyone = matching._among_all(fits, 6)  # the second of three ranks with two pairs each
    assert everyone.tolist() == [
        [True, True, True, False, True, True],
        [True, True, True, True, True, True],
    ]


def test_the_filter_recipe_reads_halves_and_their_truth() -> None:
    recipe = RECIPES["blip-toy-filter"]
    run = replace(recipe.train, steps=2, batch_size=16)
    samples = replace(recipe, train=run).build_data("train").__getitems__(range(16))
    assert "fits" in recipe.collate(train=True)(samples)
    assert "fits" not in recipe.collate(train=False)(samples)


@pytest.mark.parametrize("key, value", [("truth", True), ("halves", 10)])
def test_of_photos_nobody_knows_what_is_true(key: str, value: object) -> None:
    with pytest.raises(RecipeError, match=f"data.{key}=.*source=photos.*set data.{key}="):
        replace(TOY_DATA, source="photos", **{key: value})


def test_halves_are_a_share_in_a_hundred() -> None:
    with pytest.raises(RangeError, match="halves"):
        replace(TOY_DATA, halves=101)
    assert TOY_DATA.dataset(TOY_BLIP, RUN, "train").__class__ is World
