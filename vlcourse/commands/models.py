"""The model that a user names: one of the course's, a folder with one, or one of the hub's."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from vlcourse import paths, tokenizers, weights, zoo
from vlcourse.commands import UsageError
from vlcourse.data.corpus.tellings import AGAIN
from vlcourse.engine import checkpoint
from vlcourse.models.blip import BLIP
from vlcourse.models.blip2 import BLIP2
from vlcourse.models.blip2_llm import BLIP2LLM, BLIP2LLMConfig
from vlcourse.models.clip import CLIP
from vlcourse.names import no_such
from vlcourse.recipes import RECIPES, Part, Recipe, RecipeError, parts
from vlcourse.recipes.blip2_data import CaptionTexts, TextsData
from vlcourse.recipes.blip_data import BLIPData
from vlcourse.tokenizers import med, theirs
from vlcourse.weights import files

VOCABULARIES = ("vocab.txt", "tokenizer.json", "merges.txt")
SETTINGS = ("config.json", "card.json")  # a run's, and a shipped model's


@dataclass(frozen=True)
class Named:
    """A model in eval mode, with its tokenizer."""

    model: nn.Module
    tokenizer: Any
    prompt: str = ""
    """How its captions begin, where it was trained to go on from something."""
    stop: str = ""
    """What ends its captions before the end of the text, where it was trained so."""
    squeezes: bool = False
    """It was trained on whole pictures, brought to a square whatever their shape (transformers'
    BLIPs), not on their central square."""


def find(name: str) -> Named:
    """The model of a name. On stderr stands which weights were taken where several could be meant.

    Args:
        name: a model of the course (its run in ``runs/``, else what ships or was trained once); the
            folder of a run, of a shipped model or of a transformers model; or a hub id.

    Raises:
        UsageError: when there is none of that name, or it has not been trained yet.
        VlcourseError: for files that cannot be read, or belong to another model.
    """
    if name in RECIPES or name in zoo.YOURS:
        run = paths.runs_dir() / name
        return _of_ours(run) if (run / "config.json").is_file() else _of_zoo(name)
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        settings = next((folder / file for file in SETTINGS if (folder / file).is_file()), None)
        if settings is None:
            raise UsageError(
                f"{folder} is no folder of a model: it has neither config.json nor card.json"
            )
        theirs = "model_type" in _read(settings)
        return _of_transformers(str(folder)) if theirs else _of_ours(folder)
    if "/" in name and not folder.exists():
        return _of_transformers(name)
    raise UsageError(no_such("model", name, [*RECIPES, *zoo.YOURS]))


def _of_zoo(name: str) -> Named:
    if name not in zoo.YOURS:
        try:
            zoo.card(name)
        except zoo.ZooError:
            raise UsageError(
                f"{name} does not ship and has not been trained here: vlcourse train {name}"
            ) from None
    recipe = zoo.find(name.replace("-yours", "-capstone"))
    return Named(zoo.load(name), recipe.tokenizer(), *_ends(recipe))


def _of_ours(folder: Path) -> Named:
    """A run, or a shipped model: its settings say which recipe it was, and with which changes."""
    file = next(folder / name for name in SETTINGS if (folder / name).is_file())
    said = _read(file)
    settings = said.get("recipe", said)
    known = RECIPES.get(str(settings.get("name")))
    if known is None:
        raise UsageError(f"{file} names no recipe of the course: {str(settings.get('name'))!r:.60}")
    try:
        recipe = restored(known, settings)
        found = checkpoint.find_weights(folder)
        print(f"weights: {found.parent}", file=sys.stderr)
        model = parts.trained(recipe, RECIPES, found).eval()
        return Named(model, recipe.tokenizer(), *_ends(recipe))
    except (TypeError, AttributeError) as error:
        raise RecipeError(f"{file} does not describe a run of {known.name}: {error}") from None


def _ends(recipe: Recipe) -> tuple[str, str]:
    """What a caption begins with, and what ends it, as the model was trained."""
    data, config = recipe.data, recipe.model
    if isinstance(data, TextsData) and isinstance(config, BLIP2LLMConfig):
        return "" if config.encodes else AGAIN, "."
    if isinstance(data, CaptionTexts):
        return data.prompt, data.stop
    return data.prompt if isinstance(data, BLIPData) else "", ""


def restored(config: Any, settings: Mapping[str, Any]) -> Any:
    """A recipe, or a part of it, with the values that a run kept of it as JSON."""
    new: dict[str, Any] = {}
    for name in (field.name for field in fields(config) if field.name in settings):
        now, then = getattr(config, name), settings[name]
        if is_dataclass(now):
            new[name] = restored(now, then)
        elif isinstance(config, Recipe) and name == "parts":
            new[name] = tuple(Part(**part) for part in then)
        else:
            new[name] = tuple(then) if isinstance(then, list) else then
    return replace(config, **new)


def _of_transformers(source: str) -> Named:
    folder = files.model_folder(source, (*files.HF_FILES, *VOCABULARIES))
    with warnings.catch_warnings():  # of a temperature that is missing, which nothing here needs
        warnings.simplefilter("ignore", weights.WeightsWarning)
        model = weights.from_hf(folder)
    own = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    if isinstance(model, CLIP):  # all of the hub's have the same merges
        merges = folder / "merges.txt"
        return Named(model, tokenizers.clip(merges if merges in own else None))
    if isinstance(model, BLIP):
        words = med.real(folder if {*own} - {folder / "merges.txt"} else None)
        if words.vocab_size != model.vocab_size:
            raise UsageError(
                f"{source} was made for {model.vocab_size:,} tokens, its vocabulary has "
                f"{words.vocab_size:,}"
            )
        return Named(model, words, squeezes=True)
    if isinstance(model, BLIP2LLM):
        return Named(model, theirs.load(folder), squeezes=True)
    if isinstance(model, BLIP2):
        words = med.real(folder if own else None)
        return Named(model, replace(words, vocab_size=model.vocab_size), squeezes=True)
    raise UsageError(
        f"{source} is a {type(model).__name__}: a CLIP, a BLIP or a BLIP-2 is needed here"
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read: {error!s:.200}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{file} describes no model: it is not a table of settings")
    return found
