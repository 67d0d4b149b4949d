"""LLaMA-Adapter as a talker: a small one that the test itself saves, told what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
import torch
from tiny_adapters import loud

from vlcourse import zoo
from vlcourse.chat import ChatError, talkers
from vlcourse.chat.adapter import AdapterTalker
from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.data.corpus import shown
from vlcourse.data.media import Media
from vlcourse.generate import Options, search
from vlcourse.models.adapter_v2 import AdapterV2Config
from vlcourse.models.llama import LLaMAConfig
from vlcourse.recipes import RECIPES
from vlcourse.recipes.llama import TOY_WORDS

SHIPS = "adapter-v2-toy-visual"
NAME = "adapter-tiny"


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdapterTalker]:
    """Of a recipe like the one that ships, of which nothing is trained, kept as a model is."""
    llm = LLaMAConfig(TOY_WORDS, 16, 2, 2, hidden=16, context=512)
    model = RECIPES[SHIPS].model
    assert isinstance(model, AdapterV2Config)
    small = replace(model, llm=llm, visual_width=16, early=1, queries=3, prompts=3)
    recipe = replace(RECIPES[SHIPS], name=NAME, model=small, parts=())
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLCOURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(RECIPES, NAME, recipe)
        zoo.keep_yours(NAME, loud(small.build()), {"recipe": asdict(recipe)}, [])
        offer = talkers.Offer(NAME, "", lambda: AdapterTalker(NAME), (NAME,))
        patch.setattr(talkers, "OFFERS", (offer,))
        made = talkers.find(NAME)
        assert isinstance(made, AdapterTalker)
        yield made


def test_it_says_what_the_adapter_writes(talker: AdapterTalker, film: Media) -> None:
    middle = film.uniform(1)
    assert talker.account(film).times == middle.times
    size = talker.model.config.image.image_size
    ids = talker.tokenizer.encode(shown.asked("what colour is it?"), bos=True)
    found = search(
        talker.model, torch.tensor([ids]), Options(64, end=talker.tokenizer.eos),
        tokenizer=talker.tokenizer, pixels=normalise(resize(middle.frames[0], size)[None]),
    )  # fmt: skip
    assert found.texts is not None
    said = "".join(talker.answer(film, " What colour\nIS it? "))
    assert said == found.texts[0][0].strip() and said


def test_another_picture_another_answer(talker: AdapterTalker, film: Media) -> None:
    black = Media("black", torch.zeros(1, 3, 32, 32, dtype=torch.uint8), (0.0,))
    assert "".join(talker.answer(film, "what is it?")) != "".join(
        talker.answer(black, "what is it?")
    )


def test_another_kind_of_model_is_refused() -> None:
    with pytest.raises(ChatError, match="blip-toy-vqa is a BLIPAnswerer"):
        AdapterTalker("blip-toy-vqa")


def test_a_question_that_no_context_holds_is_refused(talker: AdapterTalker, film: Media) -> None:
    with pytest.raises(ChatError, match="ask in fewer words"):
        talker.answer(film, "什么" * 300)
