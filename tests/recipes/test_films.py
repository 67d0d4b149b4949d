"""The run that teaches a language model to read of films: what it starts from and reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vlcourse import overrides, zoo
from vlcourse.data.corpus.films import Films
from vlcourse.engine.config import TrainConfig
from vlcourse.recipes import RECIPES, parts
from vlcourse.recipes.films import FilmTexts

RECIPE = RECIPES["llm-time"]


def test_it_starts_from_the_reader_of_pictures() -> None:
    begun, before = parts.started(RECIPE, RECIPES).state_dict(), zoo.load("llm-toy").state_dict()
    assert begun.keys() == before.keys()
    assert all(torch.equal(begun[name], before[name]) for name in before)


def test_its_documents_fit_the_context() -> None:
    texts = RECIPE.build_data("train").__getitems__(range(16_000, 16_400))
    batch = RECIPE.collate(train=True)(texts)
    assert batch["tokens"].shape[1] < RECIPE.model.context  # none was cut


def test_the_lessons_are_of_the_training_only() -> None:
    run = TrainConfig(steps=10, batch_size=4)
    data = FilmTexts(lessons=(20, 20))
    train, test = (data.dataset(RECIPE.model, run, split) for split in ("train", "test"))
    assert isinstance(train, Films) and len(train) == len(test) == 40
    assert train[1]["kind"] == "list" and test[1]["kind"] == "film"
    assert test.split == "test"


def test_it_measures_films_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    data = replace(RECIPE.data, tags=0)
    model = parts.started(RECIPE, RECIPES)
    monkeypatch.setattr("vlcourse.evals.video.reading", lambda model, collate: {"order": 0.5})
    monkeypatch.setattr("vlcourse.evals.reading.comprehension", lambda *_: {"worst": 0.9})
    found = data.measure(RECIPE.model, RECIPE.train)(model)
    assert found == {"order": 0.5, "picture: worst": 0.9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.lessons=1,-2", "lessons needs a number of documents"),
        ("data.tags=101", "tags is a share in a hundred"),
        ("data.seconds=1,5", "seconds must satisfy 2 <= least"),
        ("data.context=1", "context=1 is out of range in FilmTexts"),
    ],
)
def test_what_cannot_be_is_refused(change: str, message: str) -> None:
    with pytest.raises(overrides.OverrideError, match=message):
        overrides.apply(RECIPE, [change])
