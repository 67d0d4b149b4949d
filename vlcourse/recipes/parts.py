"""Where the weights of a run's pieces come from, and which of them stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from vlcourse import paths, weights
from vlcourse.engine import checkpoint
from vlcourse.layers.frozen import freeze
from vlcourse.models.base import Trainable
from vlcourse.names import no_such
from vlcourse.recipes.recipe import Part, Recipe, RecipeError
from vlcourse.weights.state import Frozen, digest, weights_of


def started(recipe: Recipe, recipes: Mapping[str, Recipe]) -> Trainable:
    """The model that a run begins with: freshly initialised, but for its recipe's parts.

    Args:
        recipe: the run (seed the generator first).
        recipes: all of them by name, for parts that name one.

    Raises:
        RecipeError: when a part is no piece of the model, or its source is of another shape or no
            recipe, file or hub id.
        CheckpointError: when a recipe was named that has not been trained here and does not ship.
    """
    model = recipe.build_model()
    for part in recipe.parts:
        if part.module:
            parent, _, leaf = part.module.rpartition(".")
            piece = _piece(model, part.module, recipe.name)
            setattr(model.get_submodule(parent), leaf, _filled(piece, part, recipe, recipes))
        else:
            model = _filled(model, part, recipe, recipes)
    for part in recipe.parts:
        if part.frozen:
            freeze(_piece(model, part.module, recipe.name))
    return model


def frozen(recipe: Recipe, model: nn.Module) -> Frozen:
    """What a checkpoint of the run says of its frozen parts, given the model with them."""
    found = {}
    for part in recipe.parts:
        if part.frozen:
            piece = weights_of(_piece(model, part.module, recipe.name))
            found[part.module] = {"source": part.source, "sha256": digest(piece)}
    return found


def trained(recipe: Recipe, recipes: Mapping[str, Recipe], path: Path) -> Trainable:
    """The model of a run that was trained: its checkpoint, and the frozen parts that it lacks.

    Args:
        recipe: the run.
        recipes: all of them by name, for parts that name one.
        path: a file or folder (:func:`vlcourse.engine.checkpoint.find_weights`).

    Raises:
        RecipeError: as for :func:`started`.
        CheckpointError: when there are no such weights, or they were trained beside other parts.
    """
    lacking = replace(recipe, parts=tuple(part for part in recipe.parts if part.frozen))
    model = started(lacking, recipes)
    checkpoint.load_weights(model, path, frozen(recipe, model))
    return model


def _piece(model: nn.Module, name: str, recipe: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise RecipeError(
            no_such(f"part of {recipe}", name, dict(model.named_children()))
        ) from None


def _filled(piece: Any, part: Part, recipe: Recipe, recipes: Mapping[str, Recipe]) -> Any:
    """The piece with its source's weights; strict."""
    source, path = part.source, Path(part.source).expanduser()
    if path.exists():
        checkpoint.load_weights(piece, path)
        return piece
    if source in recipes:
        run, shipped = paths.runs_dir() / source, paths.checkpoints_dir() / source
        place = shipped if shipped.is_dir() and not run.is_dir() else run
        theirs: Any = trained(recipes[source], recipes, place)
    elif "/" in source:
        theirs = weights.from_hf(source)
    else:
        raise RecipeError(
            f"{recipe.name}, parts={part.module}:{source}: {no_such('recipe', source, recipes)}"
        )
    config = piece.config
    try:
        return config.adopt(theirs)
    except ValueError as error:
        raise RecipeError(f"{recipe.name} cannot start from {source}: {error}") from None
