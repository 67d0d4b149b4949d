"""Processes that are forked from one that has imported torch already: many in little time."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


def start(function: Callable[..., None], *arguments: Any) -> Any:
    """A process that calls a function of a module in tests/."""
    context = multiprocessing.get_context("forkserver")
    late = ["torch.utils.tensorboard", "torch._dynamo"]  # what the first step would import
    context.set_forkserver_preload(["tiny", "fsdp_ranks", *late])
    # The first call starts the server, which takes up the environment.
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "MALLOC_MMAP_THRESHOLD_")}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is freed goes back to the system
    try:
        process = context.Process(target=_call, args=(function, arguments))
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
    return process


def ranks(world: int, function: Callable[..., None], *arguments: Any) -> None:
    """Run a function as ``world`` ranks would under torchrun; each must end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(_as_rank, rank, world, port, function, arguments) for rank in range(world)]
    for process in processes:
        process.join(120)
        process.kill()
    assert [process.exitcode for process in processes] == [0] * world


def _as_rank(
    rank: int, world: int, port: int, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in about.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    function(*arguments)


def _call(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ["VLCOURSE_DEVICE"] = "cpu"
    torch.set_num_threads(1)
    function(*arguments)
