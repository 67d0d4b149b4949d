"""The run folder: checkpoints that are either whole or absent, and resume from the last one.

    runs/NAME/vlcourse-run.json      the mark of a run: no other folder is written to
              config.json            the settings of the run
              metrics.json           the latest evaluation
              log.csv, tensorboard/  the curves
              step-000500/           model.safetensors, train_state.pt, state.json
              best/                  model.safetensors of the best evaluation

Everything is written under a temporary name (``.tmp-…``) and renamed when it is complete.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vlcourse import VlcourseError
from vlcourse.files import flush, remove, write_json
from vlcourse.weights.state import Tensors, aliases, write_weights

# What may differ when a run goes on: how long, how often it reports, and where it runs.
FREE = (
    "steps", "eval_every", "save_every", "log_every", "keep", "workers", "parallel", "compile",
    "checkpointing",
)  # fmt: skip
_STEP = re.compile(r"step-(\d+)")
_TEMPORARY = re.compile(r"\.tmp-\d+-(old-)?(step-\d+|[a-z-]+\.(json|csv|safetensors))$")
MARK = "vlcourse-run.json"  # says that a folder is a run of ours
OURS = (MARK, "config.json", "metrics.json", "log.csv", "best", "tensorboard")


class CheckpointError(VlcourseError, RuntimeError):
    """A checkpoint that cannot be used, or a run folder that belongs to another run."""


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a plain model from a safetensors file, strictly; float16 files fill float32 models.

    Args:
        model: the model to fill.
        path: a file, a folder with a ``model.safetensors``, or a run folder, of which the best
            weights are taken if it kept them, else the newest.

    Raises:
        CheckpointError: when the file is missing or damaged, or its names or shapes are not the
            model's.
    """
    if path.is_dir():
        folders = [path, path / "best", *(folder for _, folder in reversed(checkpoints(path)))]
        files = [folder / "model.safetensors" for folder in folders]
        path = next((file for file in files if file.is_file()), files[0])
    try:
        weights = load_file(path)
        shared = {alias: weights[name] for alias, name in aliases(model).items()}
        model.load_state_dict(weights | shared, strict=True)
    except FileNotFoundError:
        raise CheckpointError(f"there are no weights at {path}") from None
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path} does not fit {type(model).__name__}: {error}") from None


def checkpoints(run: Path) -> list[tuple[int, Path]]:
    """The complete checkpoints of a run, (step, folder), oldest first."""
    found = [(_STEP.fullmatch(path.name), path) for path in run.glob("step-*")]
    return sorted((int(match[1]), path) for match, path in found if match)


def _is_run(run: Path, inside: list[str]) -> bool:
    """Whether a run of ours wrote this folder; before there was a mark, it wrote nothing else."""
    if MARK in inside:
        return True
    try:
        settings = json.loads((run / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    alone = all(name in OURS or _STEP.fullmatch(name) for name in inside)
    return alone and isinstance(settings, dict) and isinstance(settings.get("train"), dict)


def open_run(run: Path, settings: dict[str, Any], resume: bool) -> None:
    """Prepare a run folder: clear what a killed run left half-written, check or begin the run.

    Args:
        run: the folder, made when missing.
        settings: everything that defines the run, as JSON values; kept as config.json.
        resume: False deletes the checkpoints and logs of an earlier run in this folder.

    Raises:
        CheckpointError: when the folder has checkpoints of a run with other settings, or files that
            no run of ours has written: those are never touched.
    """
    if run.is_file():
        raise CheckpointError(f"{run} is a file: name a folder for the run (--out)")
    run.mkdir(parents=True, exist_ok=True)
    inside = sorted(path.name for path in run.iterdir() if not _TEMPORARY.match(path.name))
    if inside and not _is_run(run, inside):
        raise CheckpointError(
            f"{run} holds {inside[0]} and is no folder of a run: nothing in it was touched. Name "
            "another folder for the run (--out)"
        )
    write_json(run / MARK, {"format": 1})
    for path in run.iterdir():
        if _TEMPORARY.match(path.name):
            remove(path)
    if not resume:
        for path in [*(folder for _, folder in checkpoints(run)), *(run / name for name in OURS)]:
            if path.name != MARK:
                remove(path)
    config = run / "config.json"
    if checkpoints(run) and config.is_file():
        before, now = _flat(json.loads(config.read_text("utf-8"))), _flat(_jsonable(settings))
        free = {"doc", "name", *(f"train.{name}" for name in FREE)}
        differing = [
            f"{key} (was {before.get(key, 'absent')}, now {now.get(key, 'absent')})"
            for key in sorted(before.keys() | now.keys())
            if key not in free and before.get(key) != now.get(key)
        ]
        if differing:
            raise CheckpointError(
                f"{run} holds a run with other settings: {'; '.join(differing)}. "
                "Use the same settings to go on, another folder, or begin again (--fresh)"
            )
    write_json(config, _jsonable(settings))


def save(
    run: Path, step: int, weights: Tensors, moments: dict[str, Tensors], state: Any, keep: int
) -> Path:
    """Write the checkpoint of a step, whole or not at all, then delete all but the last ``keep``.

    Args:
        run: the run folder.
        step: optimiser steps done.
        weights: the model's state dict.
        moments: the optimiser's tensors of each parameter.
        state: JSON values: everything else that is needed to go on.
        keep: how many checkpoints stay; 0 keeps all.
    """
    final = run / f"step-{step:06d}"
    if not final.exists():
        temporary = run / f".tmp-{os.getpid()}-{final.name}"
        remove(temporary)
        temporary.mkdir()
        write_weights(temporary / "model.safetensors", weights, {"step": str(step)})
        torch.save({"moments": moments}, temporary / "train_state.pt")
        flush(temporary / "train_state.pt")
        write_json(temporary / "state.json", {"step": step, **state})
        os.replace(temporary, final)
    for _, old in checkpoints(run)[:-keep] if keep else []:
        # Renamed first: a folder called step-… is always whole, also while it is being deleted.
        doomed = run / f".tmp-{os.getpid()}-old-{old.name}"
        os.replace(old, doomed)
        remove(doomed)
    return final


def save_best(run: Path, step: int, weights: Tensors, best: dict[str, Any]) -> None:
    """Replace best/model.safetensors; its metadata names the step, the metric and its value."""
    (run / "best").mkdir(exist_ok=True)
    about = {"step": str(step), **{key: str(value) for key, value in best.items()}}
    write_weights(run / "best" / "model.safetensors", weights, about)


def load(folder: Path) -> tuple[Tensors, dict[str, Tensors], dict[str, Any]]:
    """Weights, optimiser tensors and the JSON state of a checkpoint that :func:`save` wrote."""
    try:
        weights = load_file(folder / "model.safetensors")
        saved = torch.load(folder / "train_state.pt", map_location="cpu", weights_only=True)
        return weights, saved["moments"], json.loads((folder / "state.json").read_text("utf-8"))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder} is damaged ({error}): delete it to go on") from None


def _jsonable(value: Any) -> Any:
    """What the value is after a trip through JSON (tuples become lists)."""
    return json.loads(json.dumps(value))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts → {"a.b": leaf}."""
    if not isinstance(value, dict):
        return {prefix: value}
    items = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
    return {key: leaf for item in items for key, leaf in item.items()}
