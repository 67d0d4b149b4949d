"""Where the weights of a run's pieces come from, and which of them stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from vlcourse import paths, weights
from vlcourse.engine import checkpoint
from vlcourse.layers.frozen import freeze
from vlcourse.models.base import Trainable
from vlcourse.names import no_such
from vlcourse.recipes.recipe import Part, Recipe, RecipeError


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
        theirs: Any = recipes[source].model.build()
        run, shipped = paths.runs_dir() / source, paths.checkpoints_dir() / source
        checkpoint.load_weights(theirs, shipped if shipped.is_dir() and not run.is_dir() else run)
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
