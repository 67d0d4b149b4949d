"""One exercise of one notebook, judged in a process of its own that nothing else rests on.

The answer runs in the same Python as its check, so it could learn to fool it. What makes that hard:
the result goes over a pipe, signed with a secret of this process, and not over what is printed; the
decorator, the line and the verdict are the grader's own; and a pass counts only if afterwards the
check still refuses the known wrong answers and accepts the right one, as it would not if the answer
had changed the check or the library. What it does not protect from: an answer written against this very
file, which looks for the secret in memory. A pass is a strong hint and no proof; look at the source
of a student whom you suspect.
"""

from __future__ import annotations

import hmac
import json
import os
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vlcourse.teach import explain
from vlcourse.teach.exercise import Outcome, attempt, find, line
from vlcourse.teach.notebooks import answers, fence

MOST_BYTES = 60_000  # of a message; it fits into a pipe that nobody reads yet


def work(
    pipe: Connection, secret: bytes, id: str, cells: list[str], folder: str, limits: tuple[int, int]
) -> None:
    """Judge an exercise and send ``[signature, {"fence", "status", "line"}]`` as JSON.

    ``limits``: seconds of processor time, and MB of memory.
    """
    fenced = fence.close(Path(folder), *limits)
    leave_the_server()
    status, said = judge(id, cells)
    text = json.dumps({"fence": fenced, "status": status, "line": said[:4000]})
    pipe.send_bytes(json.dumps([sign(secret, text), text]).encode())


def leave_the_server() -> None:
    """Close what leads from a forked process back to its fork server and to the resource tracker.

    An answer that writes to each file it finds open would end both, and with them whatever other
    answers are being judged.
    """
    for owner, name in (
        (getattr(forkserver, "_forkserver", None), "_forkserver_alive_fd"),
        (getattr(resource_tracker, "_resource_tracker", None), "_fd"),
    ):
        if (open_file := getattr(owner, name, None)) is not None:
            setattr(owner, name, None)
            with suppress(OSError):
                os.close(open_file)


def sign(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(), "sha256").hexdigest()


def judge(id: str, cells: list[str]) -> tuple[str, str]:
    """("passed", "failed", "blank" or "missing"; the exercise's line) of a notebook's cells."""
    entry = find(id)
    try:
        candidate = answers.build(cells, id, lambda other: find(other).reference)
    except answers.NoAnswer:
        return "missing", missing(id)
    except answers.AnswerError as error:
        return "failed", line(entry, Outcome("failed", str(error)))
    try:
        outcome = attempt(entry, candidate)
        if outcome.status == "passed" and not _sound(id):
            outcome = Outcome("failed", "after your answer the check no longer tells right from wrong")
    except BaseException as error:  # KeyboardInterrupt and the like, which no check expects
        outcome = Outcome("failed", f"your answer raises {explain.words(error)}")
    return outcome.status, line(entry, outcome)


def missing(id: str) -> str:
    return f"– {id}: missing, the notebook has no such exercise"


def _sound(id: str) -> bool:
    """Whether the check still refuses every known wrong answer, and accepts the reference."""
    entry = find(id)
    wrong = (attempt(entry, wrong.function).status for wrong in entry.wrong)
    return attempt(entry, entry.reference).status == "passed" and all(
        status == "failed" for status in wrong
    )
