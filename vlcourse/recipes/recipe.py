"""A run as a frozen table entry: the model, the data, the training, and where its parts come from.

A new system brings a model config, a dataclass of the kind `Data`, and a table of recipes; nothing
here asks which of them it has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from vlcourse import VlcourseError, paths
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.base import Trainable

Measure = Callable[[Trainable], dict[str, float]]


class RecipeError(VlcourseError, ValueError):
    """A recipe that cannot be run as it stands, in one sentence."""


class Config(Protocol):
    """A model's config, a frozen dataclass: it builds the model, or takes up a trained one."""

    def build(self) -> Trainable:
        """A freshly initialised model of this shape."""
        ...

    def adopt(self, model: Any) -> Trainable:
        """A trained model of the family as one of this shape; ValueError where it cannot be."""
        ...


class Data(Protocol):
    """What a run reads: a frozen dataclass. ``config`` is the recipe's model config."""

    def make_tokenizer(self, config: Any) -> Any:
        """The tokenizer that the model is built for; RecipeError when it has more ids."""
        ...

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """The dataset of a split: "train", or "test" for the evaluation."""
        ...

    def collate(self, config: Any, train: bool) -> Any:
        """Samples → batch; augmented only for training."""
        ...

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """The measurements of such a run, as a function of a model."""
        ...


@dataclass(frozen=True)
class Part:
    """Where the initial weights of a piece of the model come from."""

    module: str
    """The piece, "image" say; "" is the whole model."""
    source: str
    """A recipe (its run in runs/, else what ships), a file or folder of weights, or a hub id. Of a
    model of another kind than the piece, it is the part that has the piece's name."""
    frozen: bool = False
    """It is not trained: no gradient, always in eval mode, in no checkpoint but by its hash."""


@dataclass(frozen=True)
class Recipe:
    """A run, complete: what is built, what it reads, how it is trained."""

    name: str
    """What the command line calls it."""
    doc: str
    """What it is for, in a sentence."""
    model: Config
    """The model."""
    data: Data
    """The data, of the kind that the model reads."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The training."""
    run: RunConfig = field(default_factory=RunConfig)
    """Where and how it is carried out."""
    parts: tuple[Part, ...] = ()
    """Pieces with weights from elsewhere, each as MODULE:SOURCE or MODULE:SOURCE:true if it is
    frozen; MODULE is empty for the whole model."""

    def build_model(self) -> Trainable:
        """A freshly initialised model (seed the generator first)."""
        return self.model.build()

    def tokenizer(self) -> Any:
        """The tokenizer that this recipe's model was built for."""
        return self.data.make_tokenizer(self.model)

    def build_data(self, split: str) -> Any:
        """The dataset of a split: "train", or "test" for the evaluation."""
        return self.data.dataset(self.model, self.train, split)

    def collate(self, train: bool) -> Any:
        """Samples → batch; augmented only for training."""
        return self.data.collate(self.model, train)

    def evaluator(self) -> Measure:
        """The measurements of this recipe as a function of a model."""
        return self.data.measure(self.model, self.train)


def merged(*tables: Iterable[Recipe]) -> dict[str, Recipe]:
    """One table of all recipes by name; ValueError when two have the same."""
    found: dict[str, Recipe] = {}
    for recipe in (recipe for table in tables for recipe in table):
        if recipe.name in found:
            raise ValueError(f"two recipes are called {recipe.name!r}: rename one of them")
        found[recipe.name] = recipe
    return found


def fitting(context: int, most: int) -> int:
    """The tokens of a sample, if the model has as many places; else RecipeError."""
    if context > most:
        raise RecipeError(
            f"data.context={context} is more than the model's context of {most}: make one of them "
            "like the other"
        )
    return context


def find_source(source: str) -> str:
    """A local path or hub id as it is; a plain name as the folder that the data folders have.

    A folder of that name here is taken where they have none.
    """
    if not source:  # it would be the data folder itself
        raise RecipeError("data.source is empty: name a path or a hub id with data.source=…")
    if "/" in source or "." in source or len(source) > 255:  # no name of a file is longer
        return source
    if not (found := paths.find_data(source)):
        if os.path.isdir(source):
            return source
        looked = ", ".join(str(folder) for folder in paths.data_folders())
        raise RecipeError(
            f"data.source={source}: this folder is in none of "
            f"{looked}: put it there, or name a path or a hub id with data.source=…"
        )
    return str(found)
