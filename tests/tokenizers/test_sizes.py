"""A tokenizer of another size than the model's is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlcourse.models.clip import CLIPConfig
from vlcourse.recipes import RECIPES
from vlcourse.recipes.recipe import RecipeError
from vlcourse.tokenizers.sizes import misfit


def test_the_same_number_or_rounded_up_to_64() -> None:
    for model, tokenizer in (
        (622, 622),
        (640, 622),
        (64, 64),
        (32_064, 32_001),
        (128_256, 128_256),
    ):
        assert misfit(model, tokenizer) == ""
    for model, tokenizer in ((641, 622), (621, 622), (704, 622), (128, 64), (32_000, 622)):
        assert misfit(model, tokenizer) == f"it has {tokenizer} ids, the model {model}"


@pytest.mark.parametrize(("ids", "fits"), [(622, True), (640, True), (621, False), (32_000, False)])
def test_a_language_model_with_another_tokenizer_is_refused(ids: int, fits: bool) -> None:
    recipe = RECIPES["llm-toy"]
    config = replace(recipe.model, vocab_size=ids)
    if fits:
        assert recipe.data.make_tokenizer(config).vocab_size == 622
    else:
        with pytest.raises(RecipeError, match=f"toy has 622 ids, but model.vocab_size is {ids}"):
            recipe.data.make_tokenizer(config)


def test_a_clip_with_another_tokenizer_is_refused() -> None:
    recipe = RECIPES["clip-toy"]
    config = recipe.model
    assert isinstance(config, CLIPConfig)
    assert recipe.data.make_tokenizer(config).vocab_size == 721
    for ids in (720, 768, 49_408):
        wrong = replace(config, text=replace(config.text, vocab_size=ids))
        with pytest.raises(
            RecipeError, match=f"toy has 721 ids, but model.text.vocab_size is {ids}"
        ):
            recipe.data.make_tokenizer(wrong)
