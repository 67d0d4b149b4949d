"""The run folder: whose it is, what run it holds, and what of it goes when a run begins again."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from vlcourse.engine.checkpoint import STEP, checkpoints
from vlcourse.engine.config import RunConfig
from vlcourse.files import remove, write_json
from vlcourse.weights.state import CheckpointError

# What may differ when a run goes on: how it is called, how long it is, and where it runs (which in
# old runs is among the settings of the training).
FREE = {
    "name", "doc", "train.steps", *(f"{part}.{field.name}" for part in ("run", "train")
    for field in fields(RunConfig)),
}  # fmt: skip
_TEMPORARY = re.compile(r"\.tmp-\d+-(old-)?(step-\d+|[a-z-]+\.(json|jsonl|csv|safetensors))$")
_DAMAGED = re.compile(r"damaged-step-\d+")
MARK = "vlcourse-run.json"  # says that a folder is a run of ours
# What a run writes beside its checkpoints; a folder with what it writes in there.
OURS = {
    MARK: "", "config.json": "", "metrics.json": "", "log.csv": "", "log.jsonl": "",
    "best": "model.safetensors", "tensorboard": "events.out.tfevents.*",
}  # fmt: skip


def _is_run(run: Path, inside: list[str]) -> bool:
    """Whether a run of ours wrote this folder, or it is empty.

    Before there was a mark, a run wrote nothing else; and one may have been killed at its start.
    """
    if MARK in inside or all(_TEMPORARY.match(name) and MARK in name for name in inside):
        return True
    try:
        settings = json.loads((run / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    alone = all(name in OURS or STEP.fullmatch(name) or _TEMPORARY.match(name) for name in inside)
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
    inside = sorted(path.name for path in run.iterdir())
    if not _is_run(run, inside):
        raise CheckpointError(
            f"{run} holds {inside[0]} and is no folder of a run: nothing in it was touched. Name "
            "another folder for the run (--out)"
        )
    write_json(run / MARK, {"format": 1})
    for path in run.iterdir():
        if _TEMPORARY.match(path.name):
            remove(path)
    if not resume:
        _clear(run)
    config = run / "config.json"
    if checkpoints(run) and config.is_file():
        now = _flat(_jsonable(settings))
        try:
            before = _flat(json.loads(config.read_text("utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            before = now
            warnings.warn(
                f"{config} is damaged ({error}): the run goes on without comparing its settings",
                stacklevel=2,
            )
        differing = [
            f"{key} (was {before.get(key, 'absent')}, now {now.get(key, 'absent')})"
            for key in sorted(before.keys() | now.keys())
            if key not in FREE and before.get(key) != now.get(key)
        ]
        if differing:
            raise CheckpointError(
                f"{run} holds a run with other settings: {'; '.join(differing)}. "
                "Use the same settings to go on, another folder, or begin again (--fresh)"
            )
    write_json(config, _jsonable(settings))


def _clear(run: Path) -> None:
    """Delete what runs have written here, and nothing else."""
    for path in run.iterdir():
        if STEP.fullmatch(path.name) or _DAMAGED.fullmatch(path.name):
            remove(path)
        elif path.name in OURS and path.name != MARK and not path.is_dir():
            remove(path)
        elif path.name in ("best", "tensorboard"):
            for file in path.glob(OURS[path.name]):
                remove(file)
            if not any(path.iterdir()):
                path.rmdir()


def _jsonable(value: Any) -> Any:
    """What the value is after a trip through JSON (tuples become lists)."""
    return json.loads(json.dumps(value))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts → {"a.b": leaf}."""
    if not isinstance(value, dict):
        return {prefix: value}
    items = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
    return {key: leaf for item in items for key, leaf in item.items()}
