"""A captioner and a filter that are functions of the pixels, and a job to be killed."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
from PIL import Image
from torch import Tensor

from vlcourse.data.shards import write_shard
from vlcourse.jobs.capfilt import run
from vlcourse.jobs.parts import Settings
from vlcourse.jobs.processes import run_many

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.chmod", "os.scandir")


class Writer:
    """Says the mean of the red pixels, and what it drew."""

    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        return [
            f"mean {int(picture[0].float().mean())}, drawn {key % 1000}"
            for picture, key in zip(pictures, keys, strict=True)
        ]


class Rule:
    """Keeps synthetic texts, and others by the pixels and their length: in steps of 1/16."""

    def score(self, pictures: list[Tensor], texts: list[str]) -> Tensor:
        scores = [
            1.0 if text.startswith("mean") else (int(picture.long().sum()) + len(text)) % 17 / 16
            for picture, text in zip(pictures, texts, strict=True)
        ]
        return torch.tensor(scores)


def make() -> tuple[Writer, Rule]:
    return Writer(), Rule()


SETTINGS = Settings(part_rows=7, seed=5)


def job(source: Path, out: Path, **options: int) -> None:
    run(source, out, *make(), SETTINGS, **{"batch_size": 3, **options}, seen=lambda rows: True)


def job_and_die(source: Path, out: Path, at: int) -> None:
    """Run the job, and be killed at an operation on its files; at 0 note how many there are."""
    seen = 0

    def watch(event: str, arguments: object) -> None:
        nonlocal seen
        if event in EVENTS and str(out) in str(arguments):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    job(source, out)
    out.with_suffix(".count").write_text(str(seen))


class Slow(Writer):
    """Takes its time, and leaves its process id."""

    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        time.sleep(0.1)
        return super().caption(pictures, keys)


def make_slow(folder: Path) -> tuple[Slow, Rule]:
    (folder / str(os.getpid())).touch()
    return Slow(), Rule()


def many(source: Path, out: Path, pids: Path) -> None:
    """Two slow processes."""
    run_many(source, out, partial(make_slow, pids), SETTINGS, 2, batch_size=1)


class Fixed:
    """Gives what it is told to."""

    def __init__(self, *scores: float, text: str = "said") -> None:
        self.scores, self.text = scores, text
        self.seen: list[str] = []

    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        return [self.text for _ in pictures]

    def score(self, pictures: list[Tensor], texts: list[str]) -> Tensor:
        self.seen += texts
        return torch.tensor(self.scores[: len(texts)])


def picture(value: int, kind: str = "png", size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size + 4), (value, 10, 20)).save(file, kind)
    return file.getvalue()


def shard(folder: Path, rows: list[tuple[bytes | None, str | None]]) -> Path:
    made = [
        {"image": {"bytes": data, "path": None}, "caption": text, "n": i}
        for i, (data, text) in enumerate(rows)
    ]
    write_shard(folder / "a.parquet", made)
    return folder


def rows_of(out: Path, folder: str = "*") -> list[dict[str, Any]]:
    files = sorted(out.glob(f"{folder}/part-*.parquet"))
    rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    return sorted(rows, key=lambda row: row["id"])
