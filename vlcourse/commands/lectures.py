"""The commands around the lectures: course, lab, claims, build and grade.

Only the standard library is imported up here, as in :mod:`vlcourse.cli`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from vlcourse import paths
from vlcourse.commands import UsageError
from vlcourse.names import no_such

BUILD = """Build notebooks/ and solutions/ from lectures/. A lecture is executed again when its code
has changed, or a module that it imports itself, its folder in vlcourse/teach/, or a stored result
or card that it names; not for a change of what those import in their turn."""

GRADE = """Judge the exercises of students' notebooks, each in a process of its own: right, wrong,
not attempted or missing. Only an answer and what it uses is run; what a notebook prints counts for
nothing. On Linux an answer has no network, limited memory and can write in a folder of its own
only; where root grades, it runs as the user nobody, else it can read your files. Elsewhere only its
time is limited. An answer written to cheat this very grader may succeed."""


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Tell the parser of these commands."""
    sub = commands.add_parser("course", help="write the whole course as pages to read")
    sub.add_argument("--out", type=Path, default=Path("build"), help="folder (default: build)")
    sub.set_defaults(run=course)

    sub = commands.add_parser("lab", help="open JupyterLab on the notebooks")
    sub.usage = "vlcourse lab [FOLDER] [--port N] [--no-browser]"
    sub.add_argument("--port", type=int, default=8888, help="first port to try (default: 8888)")
    sub.add_argument("--no-browser", action="store_true", help="print the address only")
    sub.set_defaults(run=lab, takes_words=True)

    sub = commands.add_parser("claims", help="run the experiments behind the claims table")
    sub.usage = "vlcourse claims [ID ...] [--show]"
    sub.add_argument("--show", action="store_true", help="print the stored table and run nothing")
    sub.set_defaults(run=claims, takes_words=True)

    sub = commands.add_parser("build", help="build notebooks/ and solutions/ from lectures/")
    sub.usage = "vlcourse build [LECTURE ...] [--check] [--force]"
    sub.description = BUILD
    sub.add_argument("--check", action="store_true", help="only say what is stale or wrong")
    sub.add_argument("--force", action="store_true", help="build what is up to date too")
    sub.set_defaults(run=build, takes_words=True)

    sub = commands.add_parser("grade", help="judge the exercises of students' notebooks")
    sub.usage = "vlcourse grade NOTEBOOK ... [--csv FILE] [--json FILE] [--seconds N] [--memory MB]"
    sub.description = GRADE
    sub.add_argument("--csv", type=Path, help="write a table too, a line an exercise: FILE.csv")
    sub.add_argument("--json", type=Path, help="write the same and the sums as JSON: FILE.json")
    sub.add_argument("--seconds", type=int, default=60, help="for one exercise (default: 60)")
    sub.add_argument("--memory", type=int, default=2048, help="MB for one (default: 2048)")
    sub.set_defaults(run=grade, takes_words=True)


def course(args: argparse.Namespace) -> None:
    need_lectures()
    from vlcourse.teach.notebooks import build

    build.course(out=args.out)


def lab(args: argparse.Namespace) -> int:
    """JupyterLab on the loopback address, without its news and update requests."""
    if not args.words:
        need_lectures()
    words = args.words or [str(paths.root() / "notebooks")]
    folder = Path(words[0])
    if len(words) > 1 or not folder.is_dir():
        raise UsageError(f"{words[-1]}: not a folder; lab opens one folder of notebooks")
    command = [sys.executable, "-m", "jupyterlab", str(folder)]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={args.port}"]
    command += ["--LabApp.news_url=None"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += ["--LabApp.extension_manager=readonly"]
    if args.no_browser:
        command.append("--no-browser")
    if getattr(os, "geteuid", lambda: 1)() == 0:  # in a container; Jupyter refuses root otherwise
        command.append("--allow-root")
    return subprocess.call(command)


def claims(args: argparse.Namespace) -> None:
    """Run the named claims, or all, and refresh README.md; ``--show`` only prints the table."""
    from vlcourse.teach import claims as ledger

    known = [claim.id for claim in ledger.CLAIMS]
    for name in args.words:
        if name not in known:
            raise UsageError(no_such("claim", name, known))
    if not args.show:
        ledger.run(args.words or None)
        if paths.in_checkout():
            from vlcourse.teach.notebooks import readme

            readme.rewrite()
    else:
        print(ledger.ledger_markdown(args.words or None))


def build(args: argparse.Namespace) -> int:
    need_lectures()
    from vlcourse.teach.notebooks import build as builder

    names = args.words or None
    if not args.check:
        builder.build(names, force=args.force)
        return 0
    problems = builder.check(names)
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def grade(args: argparse.Namespace) -> int:
    """Print each notebook's exercises, and write the files as they grow. 1: one was unreadable."""
    if not args.words:
        raise UsageError("which notebooks? vlcourse grade FILE ...")
    for kind in ("csv", "json"):  # before an hour's work, and never over something else
        path = getattr(args, kind)
        if path and (path.suffix != f".{kind}" or path.is_dir() or not path.parent.is_dir()):
            raise UsageError(f"--{kind} {path}: name a .{kind} file in a folder that exists")
    from vlcourse.teach.notebooks import grade as grader

    limits = grader.Limits(args.seconds, args.memory)
    grades = []
    for one in grader.grade(args.words, limits):
        print(one, flush=True)
        grades.append(one)
        grader.write(grades, args.csv, args.json)
    print(grader.fence(grades, limits), file=sys.stderr)
    return int(any(one.problem for one in grades))


def need_lectures() -> None:
    """Refuse, in one sentence, what an installed package without its lectures cannot do."""
    if not paths.in_checkout():
        address = "https://github.com/vlcourse/vlcourse"
        raise UsageError(f"the lectures are not here; clone {address} and run this inside it")
