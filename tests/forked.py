"""Processes that are forked from one that has imported torch already: many in little time."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

import torch

HERE = Path(__file__).parent
PRELOADED = ["tiny", "fsdp_ranks", "itc_ranks", "blip_ranks", "blip2_ranks", "capfilt_jobs"]
PRELOADED += ["adapter_ranks"]
PRELOADED += ["torch.utils.tensorboard", "torch._dynamo"]  # what the first step would import
_server: int | None = None  # its process id


def start(function: Callable[..., None], *arguments: Any) -> Any:
    """A process that calls a function of a module in tests/.

    A module that the server has loaded, so one of `PRELOADED`: a file of tests would have each
    process import pytest first.
    """
    _serve()
    process = multiprocessing.get_context("forkserver").Process(
        target=_call, args=(function, arguments)
    )
    process.start()
    return process


def _serve() -> None:
    """See that the running fork server is the one of this file; every test here shares it."""
    global _server
    server = forkserver._forkserver  # type: ignore[attr-defined]
    if _server is not None and server._forkserver_pid == _server:
        return
    server._stop()  # a loader's, without what is preloaded here
    multiprocessing.set_forkserver_preload(PRELOADED)
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    # What is freed goes back to the system.
    with mock.patch.dict(os.environ, PYTHONPATH=path, MALLOC_MMAP_THRESHOLD_="65536"):
        server.ensure_running()
    _server = server._forkserver_pid


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
