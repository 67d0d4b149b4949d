"""The ``vlcourse`` command: a thin layer over the library.

Only the standard library is imported up here, so that ``vlcourse doctor`` and ``--help`` work in an
environment where torch does not, and at once where it does.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import unicodedata
from pathlib import Path
from typing import NoReturn

from vlcourse import VlcourseError, __version__
from vlcourse.chat import TALKERS
from vlcourse.commands import UsageError, chat, lectures, training

CAPFILT = """CapFilt (BLIP, section 3.3). IN is a folder, a parquet or tar file, a glob or a hub id
of pictures with texts, or the OUT of an earlier job. For each picture the captioner writes a text,
and the filter judges both. Stopped or killed, the same command goes on. At the end OUT/kept is the
new data set (data.source=OUT/kept), and OUT/report.html says what was kept."""

MODEL = "a model of the course, a folder with a model, or a hub id"
MOST = 1000  # characters of a refusal; a word that was pasted by mistake can be a whole file
ASK = """Looks at a video or a picture and answers one question about it. --show shows what the
model sees of it; what videochat-text reads is all it knows. Its own tools know the course's toy
world only; for your videos name models that you have, as folders, or as hub ids, which are
downloaded."""
MODELS_OF_ASK = {
    "llm": "a chat model of the transformers library, which answers",
    "captioner": "a BLIP of the transformers library, for each second",
    "detector": "a model for object-detection, every five seconds",
    "action": "a model for video-classification",
    "speech": "a Whisper; or pocketsphinx (pip install 'vlcourse[speech]')",
}


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

    lectures.add(commands)
    training.add(commands)

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

    chat.add(commands)

    sub = commands.add_parser("ask", help="ask one question about a video or a picture")
    sub.usage = 'vlcourse ask FILE "QUESTION" [--model NAME] [--show] [option ...]'
    sub.description = ASK
    sub.epilog = "\n".join(
        ["who can be asked:", *(f"  {name:22} {TALKERS[name]}" for name in TALKERS)]
    )
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.add_argument(
        "--model",
        default="videochat-text",
        help="who, of the names below (default: videochat-text)",
    )
    sub.add_argument("--show", action="store_true", help="also what the model sees in the file")
    sub.add_argument("--subtitles", default="", metavar="FILE", help="(default: FILE.srt)")
    for name, what in MODELS_OF_ASK.items():
        sub.add_argument(f"--{name}", default="", metavar="MODEL", help=what)
    sub.set_defaults(run=ask, takes_words=True)

    sub = commands.add_parser("doctor", help="say what is wrong here, and what to do about it")
    sub.set_defaults(run=doctor)

    for sub in commands.choices.values():
        sub.allow_abbrev = False
        sub.set_defaults(parser=sub, takes_words=bool(sub.get_default("takes_words")))
    return parser


def caption(args: argparse.Namespace) -> None:
    if not args.words:
        raise UsageError("which picture? vlcourse caption IMAGE ... --model NAME")
    from vlcourse.commands import caption as writer
    from vlcourse.evals.writing import Writing

    top_p = 0.9 if args.sample else 0.0
    writing = Writing(args.prompt, args.max_tokens, args.beams, top_p, args.seed)
    for path, text in writer.caption(args.words, args.model, writing):
        print(f"{path}: {text}", flush=True)


def ask(args: argparse.Namespace) -> None:
    if len(args.words) != 2:
        raise UsageError('name a file and a question: vlcourse ask FILE "QUESTION"')
    from vlcourse.commands import ask as asker

    file, question = args.words
    own = asker.Weights(**{name: getattr(args, name) for name in MODELS_OF_ASK})
    said = asker.ask(file, question, args.model, own, args.subtitles)
    for note in said.notes:
        print(f"vlcourse: {note}", file=sys.stderr)
    if args.show:
        print(f"{said.account}\n")
    for piece in said.pieces:
        print(piece, end="", flush=True)
    print()


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
