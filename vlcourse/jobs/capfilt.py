"""CapFilt: a captioner writes a text for each picture, and a filter judges both texts.

Li et al., "BLIP" (2022), section 3.3: the captioner draws a synthetic text for each web picture,
and the filter drops what does not match, of the web's texts and of the synthetic ones. What is kept
is the new data set, on which a model is pretrained afresh. The authors released no such job.

Each input row gives up to two rows. Chance is a function of the seed and the row's number alone:
neither the batch, nor the number of processes, nor a restart changes a row.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vlcourse.data.sources.decode import BadSampleError, decode
from vlcourse.data.sources.find import local_path
from vlcourse.data.sources.images import open_source
from vlcourse.data.sources.skipped import Skipped
from vlcourse.data.world.dice import Dice
from vlcourse.jobs import JobError, report
from vlcourse.jobs.inputs import Input, fitting, open_input
from vlcourse.jobs.parts import (
    Settings,
    features_of,
    finished,
    left_over,
    open_out,
    write_part,
)

WEB, SYNTHETIC = "web", "synthetic"
TRUTH = ("kind", "is_clean")  # columns about the text that came with the picture, not about another


class Captioner(Protocol):
    """What writes a text for a picture."""

    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        """Texts of pictures.

        Args:
            pictures: uint8 (3, H, W), of any size each.
            keys: a seed for each, in [0, 2**62). A picture's text depends on it and on its own key
                alone, not on the others.
        """
        ...


class Judge(Protocol):
    """What says whether a text belongs to a picture: the filter."""

    def score(self, pictures: list[Tensor], texts: list[str]) -> Tensor:
        """(N,) probabilities that text i matches picture i. A picture may come several times."""
        ...


def run(
    source: str | Path,
    out: str | Path,
    captioner: Captioner,
    judge: Judge,
    settings: Settings | None = None,
    *,
    batch_size: int = 16,
    rank: int = 0,
    world: int = 1,
    seen: Callable[[int], bool] | None = None,
) -> dict[str, Any] | None:
    """Caption and filter what a source holds; goes on where an earlier call was stopped.

    Args:
        source: pictures with texts: see :func:`vlcourse.jobs.inputs.open_input`.
        out: the folder to write into: see :mod:`vlcourse.jobs.parts`.
        captioner, judge: the two models.
        settings: what decides which rows come out; None for the defaults.
        batch_size: pictures at a time.
        rank, world: of several processes, this one does the parts whose number is ``rank`` modulo
            ``world``.
        seen: told of each number of rows that have been done, and stops the job by returning
            False; None prints rows/s and the time left.

    Returns:
        The report (also in ``out``), or None while other processes still have parts to do.

    Raises:
        JobError: the folder holds something else, or a model gives nonsense.
        SourceError: the source cannot be read, or too many of its pictures cannot (which is known
            after the first thousand, or at the end).
    """
    if batch_size < 1 or not 0 <= rank < world:
        raise JobError(f"batch_size={batch_size}, rank={rank} of {world}: no such job can be")
    settings, out = settings or Settings(), Path(out)
    rows, ranges = plan(source, out, settings)
    ranges = {number: places for number, places in ranges.items() if number % world == rank}
    seen = seen or Progress(sum(stop - start for start, stop in ranges.values()))
    tally, features = Skipped(rows.columns.name, settings.max_bad), features_of(rows.carried)
    for number, (start, stop) in ranges.items():
        began = time.perf_counter()
        made: list[dict[str, Any]] = []
        account: Counter[str] = Counter()
        usable = _usable(rows, start, stop, tally, account)
        while batch := list(islice(usable, batch_size)):
            made += _both(batch, captioner, judge, settings)
            if not seen(len(batch)):
                return None
        counts = Counter((r["origin"], r.get("kind"), r.get("is_clean"), r["kept"]) for r in made)
        done = {
            "rows": stop - start,
            "seconds": round(time.perf_counter() - began, 3),
            "account": dict(account),
            "texts": [[*key, count] for key, count in counts.items()],
        }
        write_part(out, number, made, features, done)
    return report.write(out) if finished(out) else None


def plan(
    source: str | Path, out: Path, settings: Settings
) -> tuple[Input, dict[int, tuple[int, int]]]:
    """Open both ends: the rows, and by number the ranges of the parts that are still to be done.

    Raises:
        JobError, SourceError: as :func:`run`.
    """
    where, size = local_path(os.fspath(source)), settings.part_rows
    rows = open_input(source, settings.split, settings.image, settings.caption, settings.limit)
    open_out(out, where if where.exists() else None, settings, rows.rows)
    left = left_over(out, -(-rows.rows // size))
    return rows, {n: (n * size, min((n + 1) * size, rows.rows)) for n in left}


Found = tuple[int, dict[str, Any], Tensor, str | None]
"""Number, what goes along, picture, and the text that came with it, if any."""


def _usable(
    rows: Input, start: int, stop: int, tally: Skipped, account: Counter[str]
) -> Iterator[Found]:
    """The rows whose pictures can be read, with the text that each came with, if any."""
    columns = rows.columns
    for number, row in rows.read(start, stop):
        tally.tried()
        name = rows.name_of(row, number)
        try:
            picture = decode(row[columns.image], columns.folder)
        except BadSampleError as bad:
            account[bad.reason] += 1
            tally.add(name, bad)
            continue
        try:
            text = columns.text(row, number)["caption"]
        except BadSampleError as bad:  # the picture may still get a synthetic one
            account[bad.reason] += 1
            text = None
        along = {n: fitting(row.get(n), kind) for n, kind in rows.carried.items()}
        origin = row.get("origin") if row.get("origin") in (WEB, SYNTHETIC) else WEB
        stored = {"bytes": _bytes(row[columns.image], columns.folder), "path": None}
        yield number, {"source_id": name, "image": stored, "origin": origin, **along}, picture, text


def _bytes(value: Any, folder: Path | None) -> bytes:
    """The picture's file as it is stored: nothing is compressed a second time."""
    if isinstance(value, dict):
        value = value["path"] if value.get("bytes") is None else value["bytes"]
    return value if isinstance(value, bytes) else Path(folder or "", value).read_bytes()


def _both(
    batch: list[Found], captioner: Captioner, judge: Judge, settings: Settings
) -> list[dict[str, Any]]:
    """The judged rows of a batch: the text that each picture came with, and a synthetic one."""
    keys = [Dice(settings.seed, "capfilt: caption", number).bits >> 2 for number, *_ in batch]
    written = captioner.caption([picture for _, _, picture, _ in batch], keys)
    if len(written) != len(batch):
        raise JobError(f"the captioner wrote {len(written)} texts for {len(batch)} pictures")
    made, pictures = [], []
    for (number, along, picture, text), said in zip(batch, written, strict=True):
        both = {along["origin"]: text, SYNTHETIC: said.strip()}
        if along["origin"] == SYNTHETIC:  # a second round: the first one's text has its number, too
            both = {SYNTHETIC: text, f"{SYNTHETIC}-2": said.strip()}
        for name, one in both.items():
            if one:
                origin, row = name.partition("-")[0], {"id": f"{number:09d}-{name}", **along}
                if name != along["origin"]:  # the truth is about the other text
                    row |= dict.fromkeys(TRUTH & along.keys())
                made.append({**row, "text": one, "origin": origin})
                pictures.append(picture)
    if not made:
        return []
    scores = judge.score(pictures, [row["text"] for row in made]).detach().float().cpu()
    if scores.shape != (len(made),) or not ((scores >= 0) & (scores <= 1)).all():
        raise JobError(
            f"the filter gives no probabilities for rows {batch[0][0]} to {batch[-1][0]}: is it a "
            "model that was trained to match pictures and texts?"
        )
    kept = scores > torch.tensor(settings.threshold)  # both float32, so that equal is equal
    for row, score, keep in zip(made, scores.tolist(), kept.tolist(), strict=True):
        row |= {"score": score, "kept": keep}
    return made


class Progress:
    """Says how many rows are done, how fast, and how long the rest takes; at most every 2 s."""

    def __init__(self, rows: int) -> None:
        self.rows, self.done, self.began, self.said = rows, 0, time.monotonic(), 0.0

    def __call__(self, more: int) -> bool:
        self.done += more
        now = time.monotonic()
        if not more:
            return True
        if now - self.said > 2 or self.done >= self.rows:
            self.said, rate = now, self.done / max(now - self.began, 1e-9)
            left = (self.rows - self.done) / max(rate, 1e-9)
            print(
                f"capfilt: {self.done:,} of {self.rows:,} rows, {rate:,.1f} rows/s, "
                f"{_clock(left)} left", file=sys.stderr, flush=True,
            )  # fmt: skip
        return True


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d} min"


def read_kept(out: str | Path, **options: Any) -> Any:
    """The data set that a job has made: only what was kept, with every option of ``open_source``.

    On the command line it is ``vlcourse train … data.source=OUT/kept``.

    Raises:
        JobError: the job is not finished.
        SourceError: as ``open_source``.
    """
    if not finished(Path(out)):
        raise JobError(f"{out} is a job that is not finished: run it again, and it goes on")
    return open_source(Path(out) / "kept", **options)
