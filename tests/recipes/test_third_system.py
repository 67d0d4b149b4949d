"""A third system enters with a model, a data class and a table: nothing that exists is changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import recipes
from vlcourse.engine import RunConfig, TrainConfig
from vlcourse.engine.checkpoint import read_state
from vlcourse.models.base import Trainable
from vlcourse.recipes.parts import started, trained
from vlcourse.recipes.recipe import Measure, Part, Recipe, RecipeError, merged
from vlcourse.weights.state import CheckpointError, digest, weights_of, write_weights

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


class Bigram(Trainable):
    """A vector for each letter, and from it the logits of the next."""

    def __init__(self, config: BigramConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.letters, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, config.letters)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
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
        return lambda model: {"loss": float(model.losses(batch)["lm"])}


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
    tables = (recipes.clip, recipes.blip, recipes.blip2, recipes.blip2_capstone, recipes.llama)
    assert len(table) == len(recipes.merged(*(each.RECIPES for each in tables))) + 1
    again = Recipe("again", "", BigramConfig(), CycleData(), TRAIN, parts=(Part("", "bigram"),))
    for name, tensor in started(again, table).state_dict().items():
        assert torch.equal(tensor, result.model.state_dict()[name])


def with_frozen_norm(tmp_path: Path, seed: int = 0) -> tuple[Recipe, nn.Module]:
    """A recipe with a normalisation from a file."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm1d(4)
    nn.init.uniform_(norm.weight)
    norm.running_mean.fill_(0.3)  # type: ignore[union-attr]
    write_weights(tmp_path / "norm.safetensors", weights_of(norm))
    part = Part("norm", str(tmp_path / "norm.safetensors"), frozen=True)
    return Recipe("frozen", "", BigramConfig(), CycleData(), TRAIN, parts=(part,)), norm


def test_a_frozen_part_stays_bit_for_bit_and_in_eval_mode(
    table: dict[str, Recipe], tmp_path: Path
) -> None:
    recipe, norm = with_frozen_norm(tmp_path)
    model = recipes.train_recipe(recipe).model
    for name, tensor in norm.state_dict().items():
        assert torch.equal(model.get_submodule("norm").state_dict()[name], tensor)
    model.train()
    assert model.training and not model.get_submodule("norm").training
    assert not any(p.requires_grad for p in model.get_submodule("norm").parameters())


def test_a_piece_is_the_part_of_its_name_in_a_model_of_another_kind(
    table: dict[str, Recipe],
) -> None:
    theirs = recipes.train_recipe(table["bigram"]).model
    recipe = Recipe("second", "", BigramConfig(), CycleData(), TRAIN)
    model = started(replace(recipe, parts=(Part("head", "bigram", frozen=True),)), table)
    assert torch.equal(model.head.weight, theirs.head.weight)
    assert not model.head.weight.requires_grad
    assert not torch.equal(model.token.weight, theirs.token.weight)
    for part, config, said in (
        (Part("head", "clip-toy"), BigramConfig(), "it is a CLIP and has no Linear called 'head'"),
        (Part("", "clip-toy"), BigramConfig(), "it is a CLIP and has no Bigram called ''"),
        (Part("head", "bigram"), BigramConfig(7), "its head does not fit: of another shape"),
    ):
        with pytest.raises(RecipeError, match=f"second cannot start from {part.source}: {said}"):
            started(replace(recipe, model=config, parts=(part,)), table)


def test_a_checkpoint_holds_what_was_trained_and_names_the_rest(
    table: dict[str, Recipe], tmp_path: Path
) -> None:
    recipe, norm = with_frozen_norm(tmp_path)
    run = tmp_path / "run"
    short = replace(recipe, train=replace(TRAIN, steps=3), run=RunConfig(best="loss"))
    whole = recipes.train_recipe(short, run).model.state_dict()
    file = run / "step-000003" / "model.safetensors"
    assert load_file(file).keys() == {"token.weight", "head.weight", "head.bias"}
    note = {"norm": {"source": recipe.parts[0].source, "sha256": digest(weights_of(norm))}}
    assert json.loads((file.parent / "state.json").read_text())["frozen"] == note
    for place in (file, run / "best" / "model.safetensors"):
        with safe_open(place, "pt") as opened:
            assert json.loads(opened.metadata()["frozen"]) == note
        again = trained(short, table, place)
        assert all(torch.equal(t, whole[name]) for name, t in again.state_dict().items())
        assert not again.get_submodule("norm").training
    longer = replace(recipe, train=replace(TRAIN, steps=6))
    assert recipes.train_recipe(longer, run).step == 6

    with_frozen_norm(tmp_path, seed=1)  # the same name, other weights
    said = r"trained beside the frozen part norm from .*norm.safetensors \(sha256 .* now it is"
    with pytest.raises(CheckpointError, match=said):
        recipes.train_recipe(replace(recipe, train=replace(TRAIN, steps=9)), run)
    with pytest.raises(CheckpointError, match=said):
        trained(recipe, table, run)
    assert not list(run.glob("damaged-*"))
    state = json.loads((run / "step-000006" / "state.json").read_text())
    (run / "step-000006" / "state.json").write_text(json.dumps(state | {"frozen": {"norm": 3}}))
    with pytest.raises(CheckpointError, match="frozen parts are"):
        read_state(run / "step-000006", 6)


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
