"""What a job writes: parts, each a fixed range of input rows, and a mark for each that is whole.

    OUT/capfilt.json        what the job is: another one is refused here
    OUT/kept/part-000003.parquet, OUT/dropped/part-000003.parquet
    OUT/done/part-000003.json    written last: the part is whole, and these are its counts
    OUT/report.json, OUT/report.html    at the end

Every file is written beside its place and then moved there, and what is in it depends on the
settings and the rows alone. So a job may be killed at any moment, and two processes may even do the
same part: what was not marked is done again, and comes out the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlcourse.data.shards import write_shard
from vlcourse.files import remove, write_json
from vlcourse.jobs import JobError
from vlcourse.layers.ranges import check

MARK = "capfilt.json"
OURS = ("id", "image", "text", "origin", "score", "kept", "source_id")
"""The columns that a job writes of its own; others of these names are not carried along."""


@dataclass(frozen=True)
class Settings:
    """What decides which rows come out; it cannot change while a job goes on."""

    threshold: float = 0.5
    """Texts whose probability of matching is above it are kept; one that is equal is not."""
    seed: int = 0
    """Of the captioner's draws."""
    part_rows: int = 1000
    """Input rows of a part: what a kill costs at most."""
    limit: int | None = None
    """Only the first so many rows."""
    split: str | None = None
    image: str | None = None
    caption: str | None = None
    """Where the rows are in the source, where their names do not tell."""
    captioner: str = ""
    judge: str = ""
    """What the two models are called."""
    max_bad: float = 0.05
    """The share of rows without a readable picture from which on it is an error."""

    def __post_init__(self) -> None:
        check(
            self, threshold=(0, 1), seed=(0, 2**63), part_rows=(1, 10**7), limit=(1, 10**12),
            max_bad=(0, 1),
        )  # fmt: skip


def features_of(carried: dict[str, Any]) -> Any:
    """The columns of what is written, as ``datasets.Features``."""
    import datasets

    kinds = dict(
        zip(OURS, ("string", "", "string", "string", "float32", "bool", "string"), strict=True)
    )
    own = {n: datasets.Value(kind) if kind else datasets.Image() for n, kind in kinds.items()}
    return datasets.Features({**own, **carried})


def open_out(out: Path, source: Path | None, settings: Settings, rows: int) -> None:
    """Begin a job in a folder, or go on with the same one.

    Before its first part is done, another job may take its place.

    Args:
        out: the folder, made when missing.
        source: where the rows come from, if that is on this machine.
        settings: of the job.
        rows: how many it reads.

    Raises:
        JobError: the folder holds something else, another job, or is inside of the source.
    """
    if out.exists() and not out.is_dir():
        raise JobError(f"{out} is a file: name a folder to write into")
    if source is not None and source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise JobError(f"{out} is inside of {source}, which is read: name a folder elsewhere")
    now = json.loads(json.dumps({"format": 1, "rows": rows, **asdict(settings)}))
    if (out / MARK).is_file():
        before = read_json(out / MARK)
        different = [name for name in now if before.get(name) != now[name]]
        if different and not (out / "done").exists():  # nothing is lost by beginning again
            for name in ("kept", "dropped"):
                remove(out / name)
            write_json(out / MARK, now)
        elif different:
            name = different[0]
            raise JobError(
                f"{out} holds a job with {name}={before.get(name)}, and this one has "
                f"{name}={now[name]}: name another folder, or delete that one"
            )
        return
    inside = [path.name for path in out.iterdir()] if out.is_dir() else []
    if [name for name in inside if not name.startswith(".tmp-")]:
        raise JobError(
            f"{out} holds {sorted(inside)[0]} and is no folder of a job: nothing in it was "
            "touched. Name another folder"
        )
    write_json(out / MARK, now)


def part_name(number: int) -> str:
    return f"part-{number:06d}"


def left_over(out: Path, parts: int) -> list[int]:
    """The parts that are still to be done."""
    folder = out / "done"
    done = {path.stem for path in folder.glob("part-*.json")} if folder.is_dir() else set()
    return [number for number in range(parts) if part_name(number) not in done]


def write_part(
    out: Path, number: int, rows: list[dict[str, Any]], features: Any, counts: dict[str, Any]
) -> None:
    """Write the rows of a part, and then its mark."""
    for folder, kept in (("kept", True), ("dropped", False)):
        if chosen := [row for row in rows if row["kept"] is kept]:
            write_shard(out / folder / f"{part_name(number)}.parquet", chosen, features)
    write_json(out / "done" / f"{part_name(number)}.json", counts)


def read_done(out: Path) -> list[dict[str, Any]]:
    """The counts of all parts that are whole, in order."""
    return [read_json(path) for path in sorted((out / "done").glob("part-*.json"))]


def finished(out: Path) -> bool:
    """Whether every part of the job in a folder is whole."""
    settings = read_json(out / MARK)
    return not left_over(out, -(-settings["rows"] // settings["part_rows"]))


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise JobError(f"{path} is damaged: delete the folder, and run the job again") from error
