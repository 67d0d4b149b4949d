"""A third system enters with a model, a data class and a table: nothing that exists is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import recipes
from vlcourse.engine import TrainConfig
from vlcourse.recipes.parts import started
from vlcourse.recipes.recipe import Measure, Part, Recipe, RecipeError, merged
from vlcourse.weights.state import weights_of, write_weights

# ---------------------------------------------------------------- models/bigram.py


@dataclass(frozen=True)
class BigramConfig:
    """Shape of a model that knows the last letter only."""

    letters: int = 5

    def build(self) -> Bigram:
        return Bigram(self)

    def adopt(self, model: Bigram) -> Bigram:
        if model.config != self:
            raise ValueError("their alphabets differ")
        return model


class Bigram(nn.Module):
    """A vector for each letter, and from it the logits of the next."""

    def __init__(self, config: BigramConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.letters, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, config.letters)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = self.head(self.norm(self.token(batch["tokens"])))
        return {"lm": F.cross_entropy(logits, batch["targets"])}


# ---------------------------------------------------------------- recipes/bigram.py


@dataclass(frozen=True)
class CycleData:
    """The alphabet, round and round."""

    def make_tokenizer(self, config: BigramConfig) -> None:
        return None

    def dataset(self, config: BigramConfig, run: TrainConfig, split: str) -> Sequence[int]:
        return [i % config.letters for i in range(run.batch_size * 4)]

    def collate(self, config: BigramConfig, train: bool) -> Any:
        def batch(samples: Sequence[int], generator: Any = None) -> dict[str, Any]:
            tokens = torch.tensor(samples)
            targets = (tokens + 1) % config.letters
            return {"tokens": tokens, "targets": targets, "ids": [str(i) for i in samples]}

        return batch

    def measure(self, config: BigramConfig, run: TrainConfig) -> Measure:
        batch = self.collate(config, train=False)(range(config.letters))
        return lambda model: {"loss": float(model(batch)["lm"])}


TRAIN = TrainConfig(steps=60, batch_size=20, lr=0.1, warmup=1, weight_decay=0.0)
RECIPES = (Recipe("bigram", "Letters.", BigramConfig(), CycleData(), TRAIN),)


# ---------------------------------------------------------------- one line in the merge


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Recipe]:
    every = merged(recipes.RECIPES.values(), RECIPES)
    monkeypatch.setattr(recipes, "RECIPES", every)
    monkeypatch.chdir(tmp_path)
    return every


def test_it_trains_is_measured_and_gives_its_parts_to_another_run(
    table: dict[str, Recipe],
) -> None:
    result = recipes.train_recipe(table["bigram"])
    assert result.step == 60 and result.metrics["loss"] < 0.5  # ln 5 = 1.61 before
    assert len(table) == len(recipes.merged(recipes.clip.RECIPES, recipes.llama.RECIPES)) + 1
    again = Recipe("again", "", BigramConfig(), CycleData(), TRAIN, parts=(Part("", "bigram"),))
    for name, tensor in started(again, table).state_dict().items():
        assert torch.equal(tensor, result.model.state_dict()[name])


def test_a_frozen_part_stays_bit_for_bit_and_in_eval_mode(
    table: dict[str, Recipe], tmp_path: Path
) -> None:
    norm = nn.BatchNorm1d(4)
    nn.init.uniform_(norm.weight)
    norm.running_mean.fill_(0.3)  # type: ignore[union-attr]
    write_weights(tmp_path / "norm.safetensors", weights_of(norm))
    part = Part("norm", str(tmp_path / "norm.safetensors"), frozen=True)
    recipe = Recipe("frozen", "", BigramConfig(), CycleData(), TRAIN, parts=(part,))
    model = recipes.train_recipe(recipe).model
    for name, tensor in norm.state_dict().items():
        assert torch.equal(model.get_submodule("norm").state_dict()[name], tensor)
    model.train()
    assert model.training and not model.get_submodule("norm").training
    assert not any(p.requires_grad for p in model.get_submodule("norm").parameters())


def test_what_cannot_be_is_refused(table: dict[str, Recipe]) -> None:
    with pytest.raises(ValueError, match="two recipes are called 'bigram'"):
        merged(RECIPES, RECIPES)
    other = Recipe("other", "", BigramConfig(7), CycleData(), TRAIN, parts=(Part("", "bigram"),))
    recipes.train_recipe(table["bigram"])
    with pytest.raises(RecipeError, match="other cannot start from bigram: their alphabets differ"):
        started(other, table)
    for part, said in (
        (Part("hed", "bigram"), "no part of wrong 'hed'; did you mean 'head'"),
        (Part("", "bigrm"), "parts=:bigrm: there is no recipe 'bigrm'; did you mean 'bigram'"),
    ):
        wrong = Recipe("wrong", "", BigramConfig(), CycleData(), TRAIN, parts=(part,))
        with pytest.raises(RecipeError, match=said):
            started(wrong, table)
