"""Checkpoints that are either whole or absent, and how a run goes on from the newest whole one.

    runs/NAME/vlcourse-run.json      the mark of a run: no other folder is written to
              config.json            the settings of the run
              metrics.json           the latest evaluation
              log.jsonl, tensorboard/  the curves
              step-000500/           model.safetensors, train_state.pt, state.json
              step-000500/           under FSDP: weights/, moments/, state.json, and at the end of
                                     the run model.safetensors
              best/                  model.safetensors of the best evaluation

Everything is written under a temporary name (``.tmp-…``) and renamed when it is complete.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException

from vlcourse.engine import sharding
from vlcourse.engine.parallel import Placed
from vlcourse.files import remove, write_json
from vlcourse.weights.state import CheckpointError as CheckpointError
from vlcourse.weights.state import Frozen, aliases, check_fit, trained_of, used_of

STEP = re.compile(r"step-(\d+)")


def load_weights(model: nn.Module, path: Path, frozen: Frozen | None = None) -> None:
    """Fill a plain model from safetensors files, strictly; float16 files fill float32 models.

    Args:
        model: the model to fill.
        path: a file, or a folder as in :func:`find_weights`.
        frozen: parts of the model that have their weights already.

    What only training needs (``model.only_training``) may be absent as a whole.

    Raises:
        CheckpointError: when the file is missing or damaged, its names or shapes are not the
            model's, or it was trained beside other frozen parts.
    """
    path, frozen = find_weights(path), frozen or {}
    name, wanted = type(model).__name__, trained_of(model, frozen)
    try:
        check_frozen(path, _frozen_beside(path), frozen)
        if path.is_dir():
            with torch.no_grad():
                sharding.load(path, wanted)
            return
        weights, shared = load_file(path), aliases(model)
        used = used_of(model, wanted)
        if weights.keys().isdisjoint(wanted.keys() - used.keys()):
            wanted = used
        shapes = ({n: t.shape for n, t in tensors.items()} for tensors in (weights, wanted))
        check_fit(f"{path} does not fit {name}", *shapes)
        whole = model.state_dict()
        whole |= {n: t.reshape(wanted[n].shape) for n, t in weights.items()}
        model.load_state_dict(whole | {alias: whole[n] for alias, n in shared.items()})
    except FileNotFoundError:
        raise CheckpointError(f"there are no weights at {path}") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit {name}: {error}") from None


def check_frozen(where: Path, then: Frozen, now: Frozen) -> None:
    """Refuse weights that were trained beside other frozen parts than there are now.

    Raises:
        CheckpointError: which names the first such part.
    """
    for part, before in then.items():
        beside = now.get(part, {"source": "nowhere", "sha256": "none"})
        if beside["sha256"] != before["sha256"]:
            was, has = (f"{of['source']} (sha256 {of['sha256'][:12]})" for of in (before, beside))
            raise CheckpointError(
                f"{where} was trained beside the frozen part {part} from {was}, and now it is from "
                f"{has}: give it the same weights again, or begin anew (--fresh)"
            )


def _frozen_beside(path: Path) -> Frozen:
    """The frozen parts beside which a file, or a checkpoint's folder of weights, was trained."""
    if path.is_dir():
        state = path.parent / "state.json"
        return _frozen_in(json.loads(state.read_text("utf-8"))) if state.is_file() else {}
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    return _frozen_in({"frozen": json.loads(about["frozen"])} if "frozen" in about else {})


def _frozen_in(state: dict[str, Any]) -> Frozen:
    """The entry "frozen" of a checkpoint's state, if it has one; ValueError when it is damaged."""
    found = state.get("frozen", {}) if isinstance(state, dict) else None
    if not isinstance(found, dict) or not all(
        isinstance(part, dict) and all(isinstance(part.get(k), str) for k in ("source", "sha256"))
        for part in found.values()
    ):
        raise ValueError(f"frozen parts are {found}")
    return found


def find_weights(path: Path) -> Path:
    """The weights that a path names: a file, or under FSDP a folder of each rank's files.

    A folder's own ``model.safetensors`` or ``weights/``; of a run folder those of the best
    evaluation if it kept them, else the newest.
    """
    if not path.is_dir() or any(path.glob("shard-*.safetensors")):
        return path
    folders = [path, path / "best", *(folder for _, folder in reversed(checkpoints(path)))]
    places = [folder / name for folder in folders for name in ("model.safetensors", "weights")]
    return next((place for place in places if place.exists()), places[0])


def checkpoints(run: Path) -> list[tuple[int, Path]]:
    """The complete checkpoints of a run, (step, folder), oldest first."""
    found = [(STEP.fullmatch(path.name), path) for path in run.glob("step-*")]
    return sorted((int(match[1]), path) for match, path in found if match)


def save(
    run: Path,
    step: int,
    placed: Placed,
    optimizer: torch.optim.AdamW,
    state: dict[str, Any],
    keep: int,
    last: bool,
) -> None:
    """Write the checkpoint of a step, whole or not at all, then delete all but the last ``keep``.

    Every rank must call it.

    Args:
        run: the run folder.
        step: optimiser steps done.
        placed, optimizer: what is saved.
        state: JSON values: everything else that is needed to go on.
        keep: how many checkpoints stay; 0 keeps all.
        last: whether the run is over: then one file has the whole weights under FSDP, too.

    Raises:
        CheckpointError: when it cannot be written (the disk is full); the ones before stay.
    """
    final, main = run / f"step-{step:06d}", placed.ranks.main
    temporary = run / f".tmp-{step}-{final.name}"
    if not final.exists():
        try:
            if main:
                remove(temporary)
                temporary.mkdir()
            placed.ranks.barrier()
            placed.save(temporary, optimizer, whole=last)
            if main:
                parts = {"frozen": placed.frozen} if placed.frozen else {}
                write_json(temporary / "state.json", {"step": step, **state, **parts})
                os.replace(temporary, final)
        except (OSError, RuntimeError, SafetensorError, CheckpointException) as error:
            if main:
                remove(temporary)
            before = [folder.name for _, folder in checkpoints(run)]
            kept = (
                f"{before[-1]} is whole, and the run goes on from there" if before else "make room"
            )
            raise CheckpointError(
                f"{final} could not be written ({sharding.reason(error)}); {kept}"
            ) from None
    if main:
        for _, old in checkpoints(run)[:-keep] if keep else []:
            # Renamed first: a folder called step-… is always whole, also while it is being deleted.
            doomed = run / f".tmp-{step}-old-{old.name}"
            os.replace(old, doomed)
            remove(doomed)
    placed.ranks.barrier()


def save_best(run: Path, step: int, placed: Placed, best: dict[str, Any]) -> None:
    """Replace best/model.safetensors; its metadata names the step, the metric and its value.

    Every rank must call it.
    """
    if placed.ranks.main:
        (run / "best").mkdir(exist_ok=True)
    about = {"step": str(step), **{key: str(value) for key, value in best.items()}}
    placed.export(run / "best" / "model.safetensors", about)


def resume(run: Path, placed: Placed, optimizer: torch.optim.AdamW) -> dict[str, Any]:
    """Go on from the newest whole checkpoint. Every rank must call it.

    A damaged one is named in a warning and set aside as ``damaged-step-…``.

    Returns:
        Its JSON state: step, seconds, metrics, best. At step 0 if the run has no checkpoint.

    Raises:
        CheckpointError: when there are checkpoints, and none is whole; or when the newest one was
            trained beside other frozen parts.
    """
    problems: list[tuple[Path, CheckpointError]] = []
    for step, folder in reversed(checkpoints(run)):
        try:
            state = read_state(folder, step)
            placed.load(folder, optimizer)
            break
        except CheckpointError as error:
            problems.append((folder, error))
    else:
        if problems:
            raise CheckpointError(
                f"{problems[0][1]}, and {run} has no whole checkpoint: begin again (--fresh)"
            )
        return {"step": 0, "seconds": 0.0, "metrics": {}, "best": None}
    check_frozen(folder, state.get("frozen", {}), placed.frozen)
    placed.ranks.barrier()
    if placed.ranks.main:
        for damaged, problem in problems:
            aside = run / f"damaged-{damaged.name}"
            remove(aside)
            os.replace(damaged, aside)
            warnings.warn(f"{problem}: the run goes on from {folder.name}", stacklevel=2)
    return state


def read_state(folder: Path, step: int) -> dict[str, Any]:
    """The JSON state of a checkpoint; CheckpointError when it is missing, damaged or incomplete."""
    path = folder / "state.json"
    try:
        state = json.loads(path.read_text("utf-8"))
        best = state["best"]
        if best is not None and not (isinstance(best["metric"], str) and _number(best["value"])):
            raise ValueError(f"best is {best}")
        if state["step"] != step or not (_number(state["seconds"]) and state["seconds"] >= 0):
            raise ValueError(f"step {state['step']} after {state['seconds']} seconds")
        if not all(_number(value) for value in state["metrics"].values()):
            raise ValueError(f"metrics are {state['metrics']}")
        _frozen_in(state)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path} is damaged ({said})") from None
    return state


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
