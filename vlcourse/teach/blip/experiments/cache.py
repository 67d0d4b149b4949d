"""What experiments keep of their arms, so that one that was stopped goes on, and others share them.

A name ends in a digest of all that the thing depends on. A lock keeps processes from making the
same thing at once; ``VLCOURSE_PROCESSES=2`` works at two arms side by side, with a thread each.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from vlcourse import files, paths


def place(name: str, key: Any) -> Path:
    """Where the cache keeps what is known by a name and by all that it depends on."""

    def plain(value: Any) -> Any:
        assert is_dataclass(value) and not isinstance(value, type)
        return asdict(value)

    text = json.dumps(key, sort_keys=True, default=plain)
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return paths.cache_dir("claims") / f"{name.replace(' ', '-')}-{digest}"


def kept(name: str, key: Any, make: Callable[[], Any]) -> Any:
    """What ``make()`` returned the first time, through JSON; made now if the cache has it not."""
    folder = place(name, key)
    path = folder.with_name(f"{folder.name}.json")
    with alone(path):
        if not path.is_file():
            files.write_json(path, make())
    return json.loads(path.read_text("utf-8"))


def alone(path: Path) -> FileLock:
    """To be the only process that makes what stands there. A killed process holds nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def each(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """``function(*a)`` for each, in as many processes as VLCOURSE_PROCESSES says (default 1)."""
    processes = min(int(os.environ.get("VLCOURSE_PROCESSES", "1")), len(arguments))
    if processes < 2:
        return [function(*a) for a in arguments]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        return [future.result() for future in [pool.submit(function, *a) for a in arguments]]
