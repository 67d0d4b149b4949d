"""A caption's foil beside it in the batch, false of the picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlcourse.data.collate.captions import CaptionCollate
from vlcourse.data.world import World
from vlcourse.engine.config import TrainConfig
from vlcourse.recipes.blip import FOILED, TOY_BLIP
from vlcourse.recipes.recipe import RecipeError
from vlcourse.tokenizers import med

RUN = TrainConfig(steps=2, batch_size=16)


def test_each_caption_has_a_foil_that_is_false_of_its_scene() -> None:
    samples = World("train", 64, objects=(1, 4)).__getitems__(range(64))
    tokenizer = med.toy()
    batch = CaptionCollate(tokenizer, foils=True)(samples)
    assert len(batch["foil_tokens"]) == len(batch["foil_mask"]) == 64
    for sample, ids, read in zip(samples, batch["foil_tokens"], batch["foil_mask"], strict=True):
        foil = sample["scene"].foil(sample["caption"])
        assert not sample["scene"].is_true(foil)
        assert ids[read].tolist()[1:-1] == tokenizer.encode(str(foil))  # without [CLS], [SEP]


def test_only_training_has_them() -> None:
    samples = FOILED.dataset(TOY_BLIP, RUN, "train").__getitems__(range(4))
    assert "foil_tokens" in FOILED.collate(TOY_BLIP, True)(samples)
    assert "foil_tokens" not in FOILED.collate(TOY_BLIP, False)(samples)


def test_no_foils_of_pictures_of_which_nobody_knows_what_is_false() -> None:
    with pytest.raises(RecipeError, match="data.foils=true: only .*source=photos"):
        replace(FOILED, source="photos")
