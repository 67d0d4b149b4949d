"""Every run of the course as a frozen table entry: a toy run and a paper run differ in numbers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from vlcourse import paths
from vlcourse.engine import Result, fit
from vlcourse.recipes import (
    adapter,
    adapter_capstone,
    blip,
    blip2,
    blip2_capstone,
    clip,
    films,
    llama,
    parts,
    videochat,
    videochat_capstone,
)
from vlcourse.recipes.features import with_features
from vlcourse.recipes.memory import check_memory
from vlcourse.recipes.recipe import Part as Part
from vlcourse.recipes.recipe import Recipe as Recipe
from vlcourse.recipes.recipe import RecipeError as RecipeError
from vlcourse.recipes.recipe import merged

RECIPES: dict[str, Recipe] = merged(
    clip.RECIPES,
    blip.RECIPES,
    blip2.RECIPES,
    blip2_capstone.RECIPES,
    llama.RECIPES,
    adapter.RECIPES,
    adapter_capstone.RECIPES,
    films.RECIPES,
    videochat.RECIPES,
    videochat_capstone.RECIPES,
)

SHIPPED: tuple[str, ...] = (
    "clip-toy", "clip-toy-grid", "clip-cifar", "llm-toy", "llm-time", "seq2seq-toy", "blip-toy",
    "blip-toy-filter", "blip-toy-vqa", "blip2-toy", "blip2-toy-llm", "blip2-toy-seq2seq",
    "adapter-toy", "adapter-v2-toy-told", "adapter-v2-toy-visual", "videochat-toy",
)  # fmt: skip


def train_recipe(
    recipe: Recipe, out: Path | str | None = None, resume: bool = True, save: bool = True
) -> Result:
    """Train a recipe and evaluate it; what ``vlcourse train NAME`` does.

    Args:
        recipe: the run.
        out: run folder; None means ``runs/NAME``.
        resume: go on with an unfinished run in that folder; False begins again.
        save: False writes nothing at all.

    Raises:
        RecipeError: for a model larger than this machine, or a part or source that is not there.
    """
    check_memory(recipe)
    torch.manual_seed(recipe.train.seed)  # the initial weights
    # A function, so that FSDP can build it shard by shard; parts come from whole models.
    whole = recipe.parts or recipe.run.features
    begun = parts.started(recipe, RECIPES) if whole else None
    model = recipe.build_model if begun is None else begun
    frozen = None if begun is None else parts.frozen(recipe, begun)
    dataset, collate = recipe.build_data("train"), recipe.collate(train=True)
    if begun is not None and recipe.run.features:
        dataset = with_features(begun, dataset, collate, Path(recipe.run.features).expanduser())
    run = (out or paths.runs_dir() / recipe.name) if save else None
    return fit(
        model, dataset, collate, recipe.train, recipe.run,
        evaluate=recipe.evaluator(), out=run, resume=resume, settings=asdict(recipe),
        frozen=frozen,
    )  # fmt: skip
