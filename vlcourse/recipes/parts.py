"""Where the weights of a run's pieces come from, and which of them stay as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from vlcourse import paths, weights
from vlcourse.engine import checkpoint
from vlcourse.layers.frozen import freeze
from vlcourse.models.base import Trainable
from vlcourse.models.med import MED
from vlcourse.models.qformer import QFormer
from vlcourse.models.transformers_llm import TransformersConfig
from vlcourse.names import no_such
from vlcourse.recipes.recipe import Part, Recipe, RecipeError
from vlcourse.weights.bert import from_bert, from_med, is_bert
from vlcourse.weights.files import read_json
from vlcourse.weights.state import CheckpointError, Frozen, check_fit, digest, weights_of
from vlcourse.weights.transformers_llm import language_model


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
    source = part.source
    if source in recipes:
        run, shipped = paths.runs_dir() / source, paths.checkpoints_dir() / source
        place = shipped if shipped.is_dir() and not run.is_dir() else run
        theirs: Any = trained(recipes[source], recipes, place)
    elif (path := Path(os.path.expanduser(source))).exists() and not _is_published(path):
        checkpoint.load_weights(piece, path)
        return piece
    elif path.exists() or "/" in source:
        published = str(path) if path.exists() else source
        if isinstance(piece, QFormer) and is_bert(published):
            return from_bert(piece, published)
        theirs = _published(published, getattr(piece, "config", None))
    else:
        raise RecipeError(
            f"{recipe.name}, parts={part.module}:{source}: {no_such('recipe', source, recipes)}"
        )
    try:
        kin = () if part.module else piece.begins_from
        if type(theirs) is type(piece) or isinstance(theirs, kin):
            return piece.config.adopt(theirs)
        return _copied(piece, theirs, part.module)
    except (ValueError, CheckpointError) as error:
        raise RecipeError(f"{recipe.name} cannot start from {source}: {error}") from None


def _is_published(folder: Path) -> bool:
    """Whether a folder has LLaMA's official files or transformers' layout, and not weights of
    ours."""
    config = folder / "config.json"
    theirs = config.is_file() and "model_type" in read_json(config)
    return theirs or (folder / "params.json").is_file()


def _published(source: str, config: Any) -> Any:
    """The model of a published folder or hub id; a language model of transformers stays theirs
    where the config says so."""
    if (Path(source) / "params.json").is_file():
        return weights.from_official(source)
    if isinstance(config, TransformersConfig):
        return language_model(config, source)
    return weights.from_hf(source)


def _copied(piece: nn.Module, model: nn.Module, name: str) -> nn.Module:
    """The piece with the weights of another kind of model's part of the same name; a Q-Former with
    those of a MED."""
    text = getattr(model, "text", None)
    if isinstance(piece, QFormer) and isinstance(text, MED):
        return from_med(piece, text)
    theirs = dict(model.named_modules()).get(name)
    if type(theirs) is not type(piece):
        kind = type(piece).__name__
        raise ValueError(f"it is a {type(model).__name__} and has no {kind} called {name!r}")
    given, wanted = theirs.state_dict(), piece.state_dict()
    shapes = ({n: t.shape for n, t in tensors.items()} for tensors in (given, wanted))
    check_fit(f"its {name} does not fit", *shapes)
    piece.load_state_dict(given)
    return piece
