"""A caption's foil beside it in the batch, false of the picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlcourse.data.collate.captions import CaptionCollate, swaps
from vlcourse.data.world import World
from vlcourse.engine.config import TrainConfig
from vlcourse.recipes.blip import FOILED, TOY_BLIP
from vlcourse.recipes.recipe import RecipeError
from vlcourse.tokenizers import med

RUN = TrainConfig(steps=2, batch_size=16)


def test_a_foil_has_the_words_of_its_caption_and_is_false_of_the_scene() -> None:
    samples = World("train", 64, objects=(1, 4)).__getitems__(range(64))
    tokenizer = med.toy()
    batch = CaptionCollate(tokenizer, foils=True)(samples)
    rows = batch["foil_rows"].tolist()
    assert 16 < len(rows) < 64
    for row, ids, read in zip(rows, batch["foil_tokens"], batch["foil_mask"], strict=True):
        scene, caption = samples[row]["scene"], samples[row]["caption"]
        foil = swaps(scene, caption)[0]
        assert not scene.is_true(foil)
        assert ids[read].tolist()[1:-1] == tokenizer.encode(str(foil))  # without [CLS], [SEP]
    without = [sample for row, sample in enumerate(samples) if row not in rows]
    assert not any(swaps(sample["scene"], sample["caption"]) for sample in without)


def test_every_foil_is_one_of_the_relation_and_one_of_attributes() -> None:
    samples = World("train", 64, objects=(2, 2)).__getitems__(range(64))
    tokenizer = med.toy()
    batch = CaptionCollate(tokenizer, foils=True, every_foil=True)(samples)
    rows = batch["foil_rows"].tolist()
    twice = {row for row in rows if rows.count(row) == 2}
    assert 16 < len(twice) < 64 and len(rows) == len(batch["foil_tokens"])
    for row in twice:
        scene, caption = samples[row]["scene"], samples[row]["caption"]
        made = swaps(scene, caption)
        assert [foil.kind for foil in made] == ["swapped relation", "swapped attribute"]
        assert not any(scene.is_true(foil) for foil in made)
        ids = [
            tokens[read].tolist()[1:-1]
            for r, tokens, read in zip(rows, batch["foil_tokens"], batch["foil_mask"], strict=True)
            if r == row
        ]
        assert ids == [tokenizer.encode(str(foil)) for foil in made]


def test_scenes_of_one_object_have_none() -> None:
    samples = World("train", 4, objects=(1, 1)).__getitems__(range(4))
    batch = CaptionCollate(med.toy(), foils=True)(samples)
    assert len(batch["foil_rows"]) == len(batch["foil_tokens"]) == len(batch["foil_mask"]) == 0


def test_only_training_has_them() -> None:
    samples = FOILED.dataset(TOY_BLIP, RUN, "train").__getitems__(range(4))
    assert "foil_tokens" in FOILED.collate(TOY_BLIP, True)(samples)
    assert "foil_tokens" not in FOILED.collate(TOY_BLIP, False)(samples)


def test_no_foils_of_pictures_of_which_nobody_knows_what_is_false() -> None:
    with pytest.raises(RecipeError, match="data.foils=true: only .*source=photos"):
        replace(FOILED, source="photos")
