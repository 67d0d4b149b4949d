"""The ``vlcourse`` command: a thin layer over the library, one function a subcommand.

Only the standard library is imported up here, so that ``vlcourse doctor`` and ``--help`` work in an
environment where torch does not, and at once where it does.
"""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
import textwrap
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vlcourse import VlcourseError, __version__, paths
from vlcourse.commands import UsageError
from vlcourse.names import no_such

if TYPE_CHECKING:
    from vlcourse.recipes import Recipe


BUILD = """Build notebooks/ and solutions/ from lectures/. A lecture is executed again when its code
has changed, or a module that it imports itself, its folder in vlcourse/teach/, or a stored result
or card that it names; not for a change of what those import in their turn."""

CAPFILT = """CapFilt (BLIP, section 3.3). IN is a folder, a parquet or tar file, a glob or a hub id
of pictures with texts, or the OUT of an earlier job. For each picture the captioner writes a text,
and the filter judges both. Stopped or killed, the same command goes on. At the end OUT/kept is the
new data set (data.source=OUT/kept), and OUT/report.html says what was kept."""

GRADE = """Judge the exercises of students' notebooks, each in a process of its own: right, wrong,
not attempted or missing. Only an answer and what it uses is run; what a notebook prints counts for
nothing. On Linux an answer has no network, limited memory and can write in a folder of its own
only; where root grades, it runs as the user nobody, else it can read your files. Elsewhere only its
time is limited. An answer written to cheat this very grader may succeed."""

MODEL = "a model of the course, a folder with a model, or a hub id"
MOST = 1000  # characters of a refusal; a word that was pasted by mistake can be a whole file


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"vlcourse: {cut(message)}; see: {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code. 2: refused, with one sentence on stderr."""
    for stream in (sys.stdout, sys.stderr):  # a console without ✓ or Chinese shows ? and goes on
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # argparse cannot mix free words with options in any order, so it parses the options and the
    # commands that take words get what is left.
    parser = build_parser()
    for word in sys.argv[1:] if argv is None else argv:
        if any(unicodedata.category(letter) == "Cc" for letter in word):
            parser.error(f"a word holds a control character, {word!r}")
    args, words = parser.parse_known_args(argv)
    refused = [word for word in words if word.startswith("-") or not args.takes_words]
    if refused:
        args.parser.error(f"unknown argument {refused[0]!r}")
    args.words = words
    try:
        code = args.run(args) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stopped:
        print(f"vlcourse: {stopped or 'stopped'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has gone; say nothing at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        sentence = expected(error)
        if sentence is None:
            raise
        print(f"vlcourse: {cut(sentence)}", file=sys.stderr)
        return 2


def cut(text: str) -> str:
    return text if len(text) <= MOST else text[:MOST] + " …"


def expected(error: Exception) -> str | None:
    """The sentence for an error that a user can cause and cure; None for a bug, which is shown."""
    if isinstance(error, VlcourseError):
        said = str(error.args[0]) if error.args else str(error)
        # From a worker that reads data it is in a traceback, whose last line is "Kind: sentence".
        in_worker = said.startswith("Caught ")
        return said.strip().rpartition("\n")[2].partition(": ")[2] if in_worker else said
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or 'cannot be used'}"
    if isinstance(error, FileNotFoundError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full: make room there, and run the same command again"
    if isinstance(error, ImportError) and not (error.name or "").startswith("vlcourse"):
        return f"a package is missing or broken ({error}); run: vlcourse doctor"
    if isinstance(error, MemoryError) or _out_of_memory(error):
        return "there is not enough memory: choose a smaller model, batch or context"
    return None


def _out_of_memory(error: Exception) -> bool:
    """Whether torch could not allocate; its error on the CPU says so in the text only."""
    said = ("can't allocate memory", "Storage size calculation overflowed")
    return type(error).__name__ == "OutOfMemoryError" or any(text in str(error) for text in said)


def build_parser() -> Parser:
    """The parser of every subcommand; ``run`` is the function that does the work."""
    text = "Multimodal foundation models, understood by building them."
    parser = Parser(prog="vlcourse", description=text)
    parser.add_argument("--version", action="version", version=f"vlcourse {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)

    sub = commands.add_parser("course", help="write the whole course as pages to read")
    sub.add_argument("--out", type=Path, default=Path("build"), help="folder (default: build)")
    sub.set_defaults(run=course)

    sub = commands.add_parser("lab", help="open JupyterLab on the notebooks")
    sub.usage = "vlcourse lab [FOLDER] [--port N] [--no-browser]"
    sub.add_argument("--port", type=int, default=8888, help="first port to try (default: 8888)")
    sub.add_argument("--no-browser", action="store_true", help="print the address only")
    sub.set_defaults(run=lab, takes_words=True)

    sub = commands.add_parser("train", help="train a recipe", add_help=False)
    sub.add_argument("-h", "--help", action="store_true", dest="show_help")
    sub.add_argument("--out", type=Path)
    sub.add_argument("--fresh", action="store_true")
    sub.set_defaults(run=train, takes_words=True)

    sub = commands.add_parser("eval", help="print the metrics of a trained model")
    sub.usage = "vlcourse eval RECIPE [key=value ...] [--checkpoint DIR]"
    sub.add_argument("--checkpoint", type=Path, help="a run, or one of its step-… or best folders")
    sub.set_defaults(run=evaluate, takes_words=True)

    sub = commands.add_parser("plan", help="what each GPU would hold of a recipe under FSDP")
    sub.usage = "vlcourse plan RECIPE [key=value ...] [--ranks N]"
    sub.add_argument("--ranks", type=int, default=8, help="number of GPUs (default: 8)")
    sub.set_defaults(run=plan, takes_words=True)

    sub = commands.add_parser("checkpoints", help="train and store the shipped toy models")
    sub.usage = "vlcourse checkpoints [RECIPE ...]"
    sub.set_defaults(run=checkpoints, takes_words=True)

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

    sub = commands.add_parser("caption", help="write captions for pictures")
    sub.usage = "vlcourse caption IMAGE|FOLDER ... [--model NAME] [--beams N | --sample]"
    sub.add_argument("--model", default="blip-toy", help=f"{MODEL} (default: blip-toy)")
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--beams", type=int, default=3, help="of beam search (default: 3)")
    how.add_argument("--sample", action="store_true", help="draw from the nucleus (top-p 0.9)")
    sub.add_argument("--seed", type=int, default=0, help="of --sample (default: 0)")
    sub.add_argument("--max-tokens", type=int, default=40, help="longest caption (default: 40)")
    sub.add_argument("--prompt", help="how each caption begins (default: as in the training)")
    sub.set_defaults(run=caption, takes_words=True)

    sub = commands.add_parser("retrieve", help="find the pictures that fit a text best")
    sub.usage = 'vlcourse retrieve "TEXT" FOLDER ... [--model NAME] [--top N]'
    sub.add_argument("--model", default="clip-toy", help=f"{MODEL} (default: clip-toy)")
    sub.add_argument("--top", type=int, default=5, help="how many pictures (default: 5)")
    sub.set_defaults(run=retrieve, takes_words=True)

    sub = commands.add_parser("capfilt", help="write better captions, and drop wrong ones")
    sub.usage = "vlcourse capfilt IN OUT --captioner MODEL --filter MODEL [option ...]"
    sub.description = CAPFILT
    sub.add_argument("--captioner", required=True, help=f"a BLIP that writes: {MODEL}")
    sub.add_argument("--filter", required=True, help="a BLIP that matches, named likewise")
    sub.add_argument("--threshold", type=float, default=0.5, help="kept above it (default: 0.5)")
    sub.add_argument("--beam", type=int, default=0, metavar="N", help="beams instead of nucleus")
    sub.add_argument("--prompt", default="", help='how captions begin, "a picture of" say')
    sub.add_argument("--processes", type=int, default=1, metavar="N", help="(default: 1)")
    sub.add_argument("--batch-size", type=int, default=16, metavar="N", help="(default: 16)")
    sub.add_argument("--limit", type=int, metavar="N", help="the first N rows only")
    sub.add_argument("--split", help="of IN, where it has several")
    sub.add_argument("--image", metavar="COLUMN", help="of the pictures, if its name does not tell")
    sub.add_argument("--caption", metavar="COLUMN", help="of the texts, likewise")
    sub.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    sub.set_defaults(run=capfilt, takes_words=True)

    sub = commands.add_parser("doctor", help="say what is wrong here, and what to do about it")
    sub.set_defaults(run=doctor)

    for sub in commands.choices.values():
        sub.allow_abbrev = False
        sub.set_defaults(parser=sub, takes_words=bool(sub.get_default("takes_words")))
    return parser


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


def train(args: argparse.Namespace) -> None:
    if not args.words:
        if not args.show_help:
            raise UsageError("which recipe? vlcourse train --help lists them")
        print_train_help()
        return
    recipe = find_recipe(args.words)
    if args.show_help:
        print_recipe(recipe)
        return
    from vlcourse import recipes
    from vlcourse.engine import parallel

    result = recipes.train_recipe(recipe, out=args.out, resume=not args.fresh)
    parallel.finish()  # only here: after an error torchrun ends the other ranks
    if os.environ.get("RANK", "0") == "0":  # under torchrun, once
        print_metrics(result.metrics)


def evaluate(args: argparse.Namespace) -> None:
    """Measure the shipped model of a recipe, or the weights in ``--checkpoint``."""
    if not args.words:
        raise UsageError("which recipe? vlcourse train --help lists them")
    recipe = find_recipe(args.words)
    from vlcourse import zoo
    from vlcourse.engine import checkpoint
    from vlcourse.recipes import RECIPES, parts

    if args.checkpoint is None:
        if recipe.model != find_recipe(args.words[:1]).model:
            raise UsageError("a changed model has no shipped weights; name them with --checkpoint")
        model = zoo.load(recipe.name)
    else:
        file = checkpoint.find_weights(args.checkpoint)
        model = parts.trained(recipe, RECIPES, file)
        print(f"weights: {file.parent}", file=sys.stderr)
    print_metrics(recipe.evaluator()(model.eval()))


def plan(args: argparse.Namespace) -> None:
    if not args.words:
        raise UsageError("which recipe? vlcourse train --help lists them")
    recipe = find_recipe(args.words)
    from vlcourse.engine import plan as planner

    shares = planner.plan(recipe.build_model, args.ranks)
    whole = sum(share.weights for share in shares) // 4
    print(f"{recipe.name}: {whole:,} parameters, float32 with AdamW, in GB a GPU, no activations")
    print(planner.table(shares))


def checkpoints(args: argparse.Namespace) -> None:
    """Publish the named recipes, or all shipped ones; names are checked before the first run."""
    from vlcourse import zoo
    from vlcourse.recipes import SHIPPED

    for name in [find_recipe([word]).name for word in args.words or SHIPPED]:
        print(f"{name}: {zoo.publish(name)}")


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


def caption(args: argparse.Namespace) -> None:
    if not args.words:
        raise UsageError("which picture? vlcourse caption IMAGE ... --model NAME")
    from vlcourse.commands import caption as writer
    from vlcourse.evals.captions import Writing

    top_p = 0.9 if args.sample else 0.0
    writing = Writing(args.prompt, args.max_tokens, args.beams, top_p, args.seed)
    for path, text in writer.caption(args.words, args.model, writing):
        print(f"{path}: {text}", flush=True)


def retrieve(args: argparse.Namespace) -> None:
    if len(args.words) < 2:
        raise UsageError('name a text and a folder: vlcourse retrieve "a red circle" FOLDER')
    from vlcourse.commands import retrieve as searcher

    text, *places = args.words
    for found in searcher.retrieve(text, places, args.model, args.top):
        print(f"{found.score:8.3f}  {found.path}")


def capfilt(args: argparse.Namespace) -> None:
    if len(args.words) != 2:
        raise UsageError("name what is read and a folder to write: vlcourse capfilt IN OUT …")
    from vlcourse.commands import capfilt as cleaner

    source, out = args.words
    names = ("threshold", "seed", "limit", "split", "image", "caption")
    made = cleaner.clean(
        source, Path(out), args.captioner, args.filter,
        {name: getattr(args, name) for name in names},
        args.beam, args.prompt, args.processes, args.batch_size,
    )  # fmt: skip
    for origin, count in (made or {"texts": {}})["texts"].items():
        total = count["kept"] + count["dropped"]
        print(f"{origin:<12} {count['kept']:,} of {total:,} kept")
    print(f"{Path(out) / 'report.html'}" if made else "other processes still have parts to do")


def doctor(args: argparse.Namespace) -> int:
    from vlcourse import doctor as examiner

    return examiner.main()


def need_lectures() -> None:
    """Refuse, in one sentence, what an installed package without its lectures cannot do."""
    if not paths.in_checkout():
        address = "https://github.com/vlcourse/vlcourse"
        raise UsageError(f"the lectures are not here; clone {address} and run this inside it")


def find_recipe(words: list[str]) -> Recipe:
    """The recipe named by the first word, changed by the key=value words after it."""
    from vlcourse import overrides
    from vlcourse.recipes import RECIPES

    name, *changes = words
    if name not in RECIPES:
        raise UsageError(no_such("recipe", name, RECIPES))
    return overrides.apply(RECIPES[name], changes)


def print_train_help() -> None:
    from vlcourse.recipes import RECIPES

    print("usage: vlcourse train RECIPE [key=value ...] [--out DIR] [--fresh]\n")
    print("  --out DIR   folder of the run (default: runs/RECIPE); an unfinished run goes on there")
    print("  --fresh     begin again, even if the folder holds an unfinished run\n")
    print("recipes:")
    for name, recipe in RECIPES.items():
        print(
            textwrap.fill(
                recipe.doc, 96, initial_indent=f"  {name:<24}", subsequent_indent=" " * 26
            )
        )
    print("\nvlcourse train RECIPE --help shows every key that can be changed.")


def print_recipe(recipe: Recipe) -> None:
    from vlcourse import overrides

    print(f"usage: vlcourse train {recipe.name} [key=value ...] [--out DIR] [--fresh]\n")
    print(textwrap.fill(recipe.doc, 96))
    for row in overrides.describe(recipe):
        if "." not in row.key:  # the recipe's own name and doc
            continue
        print(f"\n  {row.key}={row.value}   ({row.type})")
        print(textwrap.indent(textwrap.fill(row.doc, 90), " " * 6))


def print_metrics(metrics: dict[str, float]) -> None:
    for name, value in metrics.items():
        print(f"{name:<32} {value:.4f}")
