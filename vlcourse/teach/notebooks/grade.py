"""Grade students' notebooks: each exercise in a process of its own, judged by the grader's code.

Only the answer and what it uses is run (answers.py), behind what fence the system allows (fence.py),
and the result comes over a signed channel (worker.py, which says what that does not protect from).
What a notebook prints or stores counts for nothing, and an error ends no more than its own exercise.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import multiprocessing
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from textwrap import indent
from typing import Any

import nbformat

from vlcourse import VlcourseError, files
from vlcourse.teach.catalogue import LECTURES
from vlcourse.teach.checking import Exercise
from vlcourse.teach.exercise import Outcome, line
from vlcourse.teach.notebooks import worker
from vlcourse.teach.notebooks.lecture import as_python

MARKS = {"passed": "✓", "failed": "✗", "blank": "☐", "missing": "–"}
WORDS = {"passed": "right", "failed": "wrong", "blank": "not attempted", "missing": "missing"}


class GradeError(VlcourseError, ValueError):
    """A command to grade that cannot be carried out."""


@dataclass(frozen=True)
class Limits:
    """What one exercise may take."""

    seconds: int = 60
    """Of the clock, and of the processor."""
    megabytes: int = 2048
    """Of memory, on top of the course's own."""

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= 86_400 or not 64 <= self.megabytes <= 2**20:
            raise GradeError(
                "an exercise gets 1 to 86400 seconds and 64 to 1048576 MB of memory, "
                f"not {self.seconds} and {self.megabytes}"
            )


@dataclass(frozen=True)
class Result:
    """How one exercise was solved. ``status``: passed, failed, blank or missing."""

    exercise: Exercise
    status: str
    line: str
    fence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grade:
    """A notebook's exercises, those of its lecture that it lacks too; or why it has none."""

    path: Path
    results: tuple[Result, ...] = ()
    problem: str = ""

    def count(self, status: str) -> int:
        return sum(result.status == status for result in self.results)

    def minutes(self, *statuses: str) -> int:
        """The minutes that the course allows for the exercises of these statuses."""
        return sum(r.exercise.minutes for r in self.results if r.status in statuses)

    def __str__(self) -> str:
        if self.problem:
            return f"{self.path}: {self.problem}"
        marks = ", ".join(f"{self.count(s)} {MARKS[s]}" for s in ("passed", "failed", "blank"))
        head = f"{self.path}: {marks}, {self.count('missing')} missing; "
        head += f"solved {self.minutes('passed')} of {self.minutes(*MARKS)} minutes"
        return "\n".join([head, *(indent(r.line, "  ") for r in self.results)])


def grade(paths: Iterable[Path | str], limits: Limits | None = None) -> Iterator[Grade]:
    """Grade notebooks made from the course's ``notebooks/``, one after the other.

    A file that cannot be read is a `Grade` with a ``problem``, so that it does not stop a class's.

    Raises:
        GradeError: before anything is run, for a file that does not exist.
    """
    found = [Path(path) for path in paths]
    for path in found:
        if not path.is_file():
            raise GradeError(f"{_plain(path)}: there is no such file; give notebooks to grade")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            for path in found:
                yield _grade(path, limits or Limits(), pool)
        finally:
            pool.shutdown(cancel_futures=True)


def as_json(grades: Iterable[Grade]) -> str:
    """All grades as JSON: a list with an entry a notebook."""
    rows = [
        {
            "notebook": _plain(grade.path),
            "problem": grade.problem,
            **{word.replace(" ", "_"): grade.count(status) for status, word in WORDS.items()},
            "minutes_right": grade.minutes("passed"),
            "minutes": grade.minutes(*MARKS),
            "exercises": [_row(result) for result in grade.results],
        }
        for grade in grades
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def as_csv(grades: Iterable[Grade]) -> str:
    """All grades as CSV: a line an exercise, and one for a notebook that could not be read."""
    fields = ["notebook", "exercise", "title", "status", "minutes", "difficulty", "said"]
    text = io.StringIO()
    table = csv.DictWriter(text, fields, lineterminator="\n")
    table.writeheader()
    for grade in grades:
        notebook = {"notebook": _plain(grade.path)}
        if grade.problem:
            table.writerow({**notebook, "status": "unreadable", "said": grade.problem})
        for result in grade.results:
            table.writerow({**notebook, **_row(result)})
    return text.getvalue()


def write(grades: Iterable[Grade], csv_path: Path | None, json_path: Path | None) -> None:
    """Write the files that are named, each in one go."""
    grades = list(grades)
    if csv_path:
        files.write_text(csv_path, as_csv(grades))
    if json_path:
        files.write_text(json_path, as_json(grades))


def fence(grades: Iterable[Grade], limits: Limits) -> str:
    """A sentence on what the answers could not do, and what they could."""
    seen = {part: None for grade in grades for result in grade.results for part in result.fence}
    parts = ", ".join([*seen, f"at most {limits.seconds} s"])
    text = f"Each answer ran in its own process, {parts}."
    if "as the user nobody" not in seen:
        could = "read" if "writing in its own folder only" in seen else "read and change"
        text += f" It could {could} your files: grade in a container or account of its own."
    return text


def _row(result: Result) -> dict[str, Any]:
    entry = result.exercise
    return {
        "exercise": entry.id,
        "title": entry.title,
        "status": WORDS[result.status],
        "minutes": entry.minutes,
        "difficulty": entry.difficulty,
        "said": " ".join(result.line.split()),
    }


def _grade(path: Path, limits: Limits, pool: ThreadPoolExecutor) -> Grade:
    try:
        notebook = nbformat.read(path, as_version=4)
        cells = [as_python(c.source) for c in notebook.cells if c.cell_type == "code"]
    except Exception as error:  # damaged in whatever way
        said = _plain(" ".join(str(error).split())[:200])
        return Grade(path, problem=f"cannot be read as a notebook: {said}")
    text = "\n".join(cells).replace("'", '"')
    found = {e.id for lecture in LECTURES for e in lecture.EXERCISES if f'"{e.id}"' in text}
    wanted = [e for x in LECTURES if found & {e.id for e in x.EXERCISES} for e in x.EXERCISES]
    wanted.sort(key=lambda e: text.find(f'"{e.id}"') % (len(text) + 1))  # missing ones last
    if not wanted:
        return Grade(path, problem="holds no exercise of the course")

    def judge(entry: Exercise) -> Result:
        if entry.id not in found:
            return Result(entry, "missing", worker.missing(entry.id))
        return _judge(entry, cells, limits)

    return Grade(path, tuple(pool.map(judge, wanted)))


def _judge(entry: Exercise, cells: list[str], limits: Limits) -> Result:
    """Start the worker, wait for its one message, and end all that it started."""
    # A fork server imports the course once, and forks a process from that for each exercise.
    if sys.platform == "win32":
        context = multiprocessing.get_context("spawn")
    else:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([worker.__name__])
    secret = secrets.token_bytes(32)
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="vlcourse-", ignore_cleanup_errors=True) as folder:
        task = (sender, secret, entry.id, cells, folder, (limits.seconds, limits.megabytes))
        process = context.Process(target=worker.work, args=task)
        process.start()
        sender.close()
        ready = wait([receiver, process.sentinel], limits.seconds)
        message = _message(receiver, secret) if ready else None
        if ready and not message:  # its end of the pipe is closed a moment before it is over
            process.join(1)
        code = process.exitcode
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()
        process.join()
        receiver.close()
    if message:
        said = _plain(message["line"])
        return Result(entry, message["status"], said, tuple(message["fence"]))
    if not ready or code == -getattr(signal, "SIGXCPU", 0):
        what = f"your answer is not done after {limits.seconds} s"
    else:
        what = "your answer ends its process" + ("" if code is None else f" (exit code {code})")
    return Result(entry, "failed", line(entry, Outcome("failed", what)))


def _message(receiver: Connection, secret: bytes) -> dict[str, Any] | None:
    """What the worker sent, or None when it sent nothing or did not sign it."""
    try:
        if not receiver.poll():
            return None
        signature, text = json.loads(receiver.recv_bytes(worker.MOST_BYTES))
        signed = secrets.compare_digest(signature, worker.sign(secret, text))
        return dict(json.loads(text)) if signed else None
    except (EOFError, OSError, ValueError, TypeError, AttributeError):
        return None  # the pipe is broken, or holds something else


def _plain(text: Path | str) -> str:
    """Text that can be written as UTF-8 whatever a file's name or a student's message holds."""
    return str(text).encode("utf-8", "replace").decode()
