"""Trained toy models by name: shipped with the course, or trained once on this machine.

Names in "-yours" are the models that a student trained in a lecture, kept as float32.

A model is a folder with ``model.safetensors`` (float16) and ``card.json``: the recipe, the seed,
versions, the metrics measured on that very file, and its sha256. ``log.json`` beside them has the
loss and the evaluations along the training.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vlcourse import VlcourseError, __version__, engine, paths
from vlcourse.files import write_json
from vlcourse.models.base import Trainable
from vlcourse.names import no_such
from vlcourse.recipes import RECIPES, Recipe, parts, train_recipe
from vlcourse.weights.state import Frozen, to_cpu, trained_of, used_of, write_weights

YOURS = {
    "clip-yours": "01",
    "blip-yours": "02",
    "blip2-yours": "04",
    "llm-yours": "05",
    "adapter-yours": "06",
    "videochat-yours": "07",
}
"""The students' models and the lectures that make them; "clip-yours" is of "clip-capstone"."""


class ZooError(VlcourseError, RuntimeError):
    """A model that does not exist, or whose files cannot be trusted."""


def load(name: str) -> Trainable:
    """A trained model in eval mode, float32, on the CPU.

    Shipped weights are used where there are some. Else the recipe is trained, with a progress bar,
    and kept in the cache for the next call.

    Args:
        name: of a recipe, or in :data:`YOURS`.

    Raises:
        ZooError: for an unknown name (the nearest one is named), weights that are damaged or
            belong to another model than the recipe's, or a student's model that is not made yet.
    """
    if name in YOURS:
        return _read(find(name.replace("-yours", "-capstone")), _made_in_lecture(name))
    recipe = find(name)
    folder = paths.checkpoints_dir() / name
    if not (folder / "model.safetensors").is_file():
        folder = paths.cache_dir() / "zoo" / name
        if not _is_of(folder, recipe):
            print(f"{name} is not shipped: training it, once", flush=True)
            _make(recipe, folder)
    return _read(recipe, folder)


def card(name: str) -> dict[str, Any]:
    """What is known of a model that is shipped or in the cache.

    Raises:
        ZooError: when it is neither, or the name is unknown.
    """
    _made_in_lecture(name) if name in YOURS else find(name)
    for folder in (paths.checkpoints_dir() / name, paths.cache_dir() / "zoo" / name):
        if (folder / "card.json").is_file():
            return json.loads((folder / "card.json").read_text("utf-8"))
    raise ZooError(f"{name} has no card yet: zoo.load({name!r}) or vlcourse checkpoints makes it")


def log(name: str) -> list[dict[str, float]]:
    """A model's training: a row with "step" and "loss" each few steps, some with every metric too.

    Raises:
        ZooError: when the name is unknown, or there is no log.
    """
    _made_in_lecture(name) if name in YOURS else find(name)
    for folder in (paths.checkpoints_dir() / name, paths.cache_dir() / "zoo" / name):
        if (folder / "log.json").is_file():
            return json.loads((folder / "log.json").read_text("utf-8"))
    raise ZooError(f"{name} has no log: vlcourse checkpoints {name} trains it anew and keeps one")


def publish(name: str, run: Path | str | None = None) -> Path:
    """Train a recipe and put its weights and card under data/checkpoints/, replacing older ones.

    Args:
        name: of a recipe.
        run: run folder of the training, which then survives a kill; None keeps none.

    Returns:
        The folder.
    """
    folder = paths.checkpoints_dir() / name
    _make(find(name), folder, run)
    return folder


def find(name: str) -> Recipe:
    """The recipe of a name; :class:`ZooError` names the nearest one."""
    if name in RECIPES:
        return RECIPES[name]
    raise ZooError(no_such("model", name, [*RECIPES, *YOURS]))


def keep_yours(
    name: str, model: Trainable, about: dict[str, Any], rows: list[dict[str, float]]
) -> str:
    """Keep a model that a student trained, in place of an earlier one.

    Args:
        name: of its recipe, "clip-capstone" say.
        model: the trained model.
        about: what its card says beside the file's sha256.
        rows: its log.

    Returns:
        The name that :func:`load` knows it by.
    """
    own = name.replace("-capstone", "-yours")
    with _replacing(paths.cache_dir() / "zoo" / own) as made:
        file = made / "model.safetensors"
        frozen = parts.frozen(find(name), model)
        write_weights(file, to_cpu(trained_of(model, frozen)), _said_of(frozen))
        found = {"sha256": sha256(file), "bytes": file.stat().st_size}
        write_json(made / "card.json", {"name": own, **about, **found})
        write_json(made / "log.json", rows)
    return own


def _made_in_lecture(name: str) -> Path:
    """The folder of a student's model; ZooError when there is none yet."""
    folder = paths.cache_dir() / "zoo" / name
    if not (folder / "model.safetensors").is_file():
        raise ZooError(
            f"{name} is the model that you train in lecture {YOURS[name]} (its last exercise, the "
            "capstone): run that first"
        )
    return folder


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder to write into, which takes the place of ``folder`` in one go at the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".tmp-{folder.name}-", dir=folder.parent))
    try:
        made.chmod(0o755)  # mkdtemp's folders are closed to others
        yield made
        if folder.exists():  # a folder cannot be replaced in one go: set the old one aside
            old = Path(tempfile.mkdtemp(prefix=f".tmp-{folder.name}-", dir=folder.parent))
            os.replace(folder, old / "old")
            shutil.rmtree(old)
        os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _make(recipe: Recipe, folder: Path, run: Path | str | None = None) -> None:
    """Train, write, measure what was written, and move it into place in one go."""
    result = train_recipe(recipe, out=run, save=run is not None)
    with _replacing(folder) as made:
        file = made / "model.safetensors"
        frozen = parts.frozen(recipe, result.model)
        half = to_cpu(used_of(result.model, trained_of(result.model, frozen)), torch.float16)
        write_weights(file, half, _said_of(frozen))
        model = parts.trained(recipe, RECIPES, file).eval()
        with torch.no_grad():
            metrics = recipe.evaluator()(model)
        parameters = {name: parameter.data for name, parameter in model.named_parameters()}
        about = {
            "name": recipe.name,
            "doc": recipe.doc,
            "parameters": sum(p.numel() for p in used_of(model, parameters).values()),
            "metrics": metrics,
            "seed": recipe.train.seed,
            "steps": result.step,
            "seconds": round(result.seconds, 1),
            "sha256": sha256(file),
            "bytes": file.stat().st_size,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "vlcourse": __version__,
            },
            "recipe": asdict(recipe),
        }
        write_json(made / "card.json", about)
        write_json(made / "log.json", history(result))


def _said_of(frozen: Frozen) -> dict[str, str] | None:
    """What a file of weights says of the frozen parts that it lacks."""
    return {"frozen": json.dumps(frozen)} if frozen else None


def history(result: engine.Result) -> list[dict[str, float]]:
    """The rows of a training's log: step and loss, and the metrics where they were measured.

    Where the loss is a sum of several, each of these too.
    """
    other = {"step", "loss", "grad_norm", "lr", "samples_per_s", "mfu", *result.metrics}
    parts = [name for name in result.history[0] if name not in other]
    names = ("loss", *(parts if len(parts) > 1 else ()), *result.metrics)
    return [
        {"step": int(row["step"]), **{n: round(row[n], 4) for n in names if n in row}}
        for row in result.history
    ]


def _read(recipe: Recipe, folder: Path) -> Trainable:
    file, about = folder / "model.safetensors", folder / "card.json"
    if not about.is_file():
        raise ZooError(f"{file} has no card.json beside it, so it cannot be checked")
    if sha256(file) != json.loads(about.read_text("utf-8"))["sha256"]:
        raise ZooError(
            f"{file} is damaged: its sha256 is not the one on its card. Get it again "
            f"(git checkout {file}), or delete {folder} to train it"
        )
    return parts.trained(recipe, RECIPES, file).eval()


def _is_of(folder: Path, recipe: Recipe) -> bool:
    """Whether a cached model was trained with this very recipe (which may have changed since)."""
    if not (folder / "card.json").is_file():
        return False
    before = json.loads((folder / "card.json").read_text("utf-8"))["recipe"]
    now = json.loads(json.dumps(asdict(recipe)))
    return {**before, "doc": ""} == {**now, "doc": ""}


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
