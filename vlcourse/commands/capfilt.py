"""``vlcourse capfilt``: a cleaner data set from a noisy one, with models that the user names."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vlcourse import zoo
from vlcourse.commands import UsageError, models
from vlcourse.engine import parallel
from vlcourse.jobs import capfilt, processes
from vlcourse.jobs.blip import BLIPCaptioner, BLIPJudge
from vlcourse.jobs.parts import Settings
from vlcourse.jobs.transformers_blip import TransformersCaptioner, TransformersJudge
from vlcourse.models.blip import BLIP
from vlcourse.recipes import RECIPES


def clean(
    source: str,
    out: Path,
    captioner: str,
    judge: str,
    settings: dict[str, Any],
    beams: int = 0,
    prompt: str = "",
    workers: int = 1,
    batch_size: int = 16,
) -> dict[str, Any] | None:
    """Run the job to its end, or this process's share of it under torchrun.

    Args:
        source, out: as of :func:`vlcourse.jobs.capfilt.run`.
        captioner, judge: a model of the course, a folder with one, or a hub id.
        settings: some of :class:`vlcourse.jobs.parts.Settings`, by name.
        beams: 0 draws from the nucleus.
        prompt: how the captioner's texts begin.
        workers: processes on this machine.
        batch_size: pictures at a time.

    Returns:
        The report; None while other machines still have parts to do.

    Raises:
        UsageError: for a model that cannot do it, or numbers that cannot be.
        VlcourseError: as the job's.
    """
    if workers < 1 or batch_size < 1 or not 0 <= beams <= 100:
        raise UsageError("--processes and --batch-size are 1 or more, and --beam is 0 to 100")
    how = f"beam {beams}" if beams else "nucleus"
    said = f"{captioner}, {how}" + (f", {prompt!r}" if prompt else "")
    asked = Settings(captioner=said, judge=judge, **settings)
    make = partial(make_models, captioner, judge, beams, prompt)
    if workers > 1:
        return processes.run_many(source, out, make, asked, workers, batch_size)
    rank, world = (int(os.environ.get(name, n)) for name, n in (("RANK", 0), ("WORLD_SIZE", 1)))
    write, match = make()
    return capfilt.run(
        source, out, write, match, asked, batch_size=batch_size, rank=rank, world=world
    )


def make_models(
    captioner: str, judge: str, beams: int, prompt: str
) -> tuple[capfilt.Captioner, capfilt.Judge]:
    """Captioner and filter by their names, on this process's device."""
    device = parallel.device()
    write: capfilt.Captioner
    match: capfilt.Judge
    if is_theirs(captioner):
        write = TransformersCaptioner(os.path.expanduser(captioner), beams, prompt, device)
    else:
        write = BLIPCaptioner(*_ours(captioner, "lm", device), beams, prompt)
    if is_theirs(judge):
        match = TransformersJudge(os.path.expanduser(judge), device)
    else:
        match = BLIPJudge(*_ours(judge, "itm", device))
    return write, match


def is_theirs(name: str) -> bool:
    """Whether a name means a model of the transformers library: its folder, or a hub id."""
    if name in RECIPES or name in zoo.YOURS:
        return False
    config = Path(os.path.expanduser(name), "config.json")
    if config.is_file():
        return '"model_type"' in config.read_text("utf-8")
    return "/" in name and not config.parent.is_dir()


def _ours(name: str, task: str, device: torch.device) -> tuple[BLIP, Any]:
    named = models.find(name)
    if not isinstance(named.model, BLIP):
        kind = type(named.model).__name__
        raise UsageError(f"{name} is a {kind}: captioner and filter are BLIPs")
    if task not in named.model.config.tasks:
        what = {"lm": "write", "itm": "match"}[task]
        raise UsageError(f"{name} was not trained to {what}: model.tasks has no {task!r}")
    return named.model.to(device), named.tokenizer
