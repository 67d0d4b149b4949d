"""One job by several processes of this machine, each with its own copy of the models."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vlcourse import VlcourseError
from vlcourse.jobs import JobError, report
from vlcourse.jobs.capfilt import Captioner, Judge, Progress, plan, run
from vlcourse.jobs.parts import Settings

Make = Callable[[], tuple[Captioner, Judge]]


def run_many(
    source: str | Path,
    out: str | Path,
    make: Make,
    settings: Settings,
    processes: int,
    batch_size: int = 16,
) -> dict[str, Any]:
    """As :func:`vlcourse.jobs.capfilt.run`, shared out.

    Args:
        make: gives captioner and filter; a function of a module, or a partial of one, so that it
            can be sent to another process.
        processes: how many; they share the machine's cores.

    Returns:
        The report.

    Raises:
        JobError, SourceError: as ``run``; or one of the processes was killed. What is done stays
            done.
    """
    out = Path(out)
    _, ranges = plan(source, out, settings)
    progress = Progress(sum(stop - start for start, stop in ranges.values()))
    context = multiprocessing.get_context("spawn")
    counter, errors = context.Value("q", 0), context.SimpleQueue()
    given = (source, out, make, settings, batch_size)
    workers = [
        context.Process(target=_work, args=(*given, rank, processes, os.getpid(), counter, errors))
        for rank in range(processes)
    ]
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            for worker in workers:
                worker.join(1 / len(workers))
            if any(worker.exitcode for worker in workers):
                break
            progress(counter.value - progress.done)
        if not errors.empty():
            raise JobError(errors.get())
        if wrong := [worker for worker in workers if worker.exitcode]:
            raise JobError(
                f"a process of the job ended with code {wrong[0].exitcode}, for lack of memory "
                "perhaps: run it again with fewer processes, and it goes on"
            )
    finally:
        for worker in workers:
            worker.kill()  # at any moment: see parts.py
            worker.join()
    return report.write(out)


def _work(
    source: str | Path,
    out: Path,
    make: Make,
    settings: Settings,
    batch_size: int,
    rank: int,
    world: int,
    parent: int,
    counter: Any,
    errors: Any,
) -> None:
    os.environ.setdefault("LOCAL_RANK", str(rank % max(torch.cuda.device_count(), 1)))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))

    def seen(rows: int) -> bool:
        with counter.get_lock():
            counter.value += rows
        return os.getppid() == parent  # when the one that started us is gone, so are we

    try:
        run(
            source, out, *make(), settings, batch_size=batch_size, rank=rank, world=world, seen=seen
        )
    except VlcourseError as error:
        errors.put(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
