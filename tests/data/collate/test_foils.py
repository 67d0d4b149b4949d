"""A caption's foil beside it in the batch, false of the picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlcourse.data.collate.captions import CaptionCollate, foils
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
        (foil,) = foils(scene, caption)
        assert not scene.is_true(foil)
        assert ids[read].tolist()[1:-1] == tokenizer.encode(str(foil))  # without [CLS], [SEP]
    without = [sample for row, sample in enumerate(samples) if row not in rows]
    assert not any(foils(sample["scene"], sample["caption"]) for sample in without)


def test_every_foil_is_one_of_each_kind_that_a_caption_allows() -> None:
    samples = World("train", 64, objects=(1, 2)).__getitems__(range(64))
    tokenizer = med.toy()
    batch = CaptionCollate(tokenizer, foils=True, every_foil=True)(samples)
    rows = batch["foil_rows"].tolist()
    kinds: dict[tuple[str, ...], int] = {}
    for row, sample in enumerate(samples):
        scene, caption = sample["scene"], sample["caption"]
        made = foils(scene, caption, every=True)
        assert not any(scene.is_true(foil) for foil in made)
        ids = [
            tokens[read].tolist()[1:-1]
            for r, tokens, read in zip(rows, batch["foil_tokens"], batch["foil_mask"], strict=True)
            if r == row
        ]
        assert ids == [tokenizer.encode(str(foil)) for foil in made]
        of = tuple(foil.kind for foil in made)
        kinds[of] = kinds.get(of, 0) + 1
    replaced = ("replaced attribute",)
    assert kinds[replaced] > 16  # of one object
    assert kinds[("swapped relation", "swapped attribute", *replaced)] > 8
    assert len(rows) == len(batch["foil_tokens"]) == sum(len(of) * n for of, n in kinds.items())


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


def test_every_foil_without_foils_is_refused() -> None:
    with pytest.raises(RecipeError, match="every_foil=true adds to data.foils=true: set both"):
        replace(FOILED, foils=False, every_foil=True)
