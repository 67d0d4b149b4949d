"""Bad command lines: each ends in one sentence, soon, and touches no file of the user's.

A stubbed evaluation and models of a few numbers keep the whole short; everything else is real.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlcourse import cli, overrides, zoo
from vlcourse.engine import loop
from vlcourse.recipes import RECIPES, Recipe
from vlcourse.teach import claims
from vlcourse.teach.notebooks import build

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no alarm to end what hangs")

SECONDS = 20  # a busy machine is no hang
BYTES = 3 * 2**30  # of memory more than now: a case cannot take the machine with it
SMALL = "train.steps=1 train.batch_size=2 data.n_train=4 run.log_every=1".split()
TOWER = "model.embed=8 model.text.width=8 model.text.heads=2 model.text.layers=1".split()
TINY = {
    "clip-toy": [*SMALL, *TOWER, "model.image.width=4", "model.image.heads=2"],
    "clip-toy-vit": [*SMALL, *TOWER, *"model.image.width=8 model.image.heads=2".split()]
    + ["model.image.layers=1"],
    "llm-toy": [*SMALL, "data.recall=0,0,0,0,0"]
    + "model.width=8 model.layers=1 model.heads=2 model.hidden=8".split(),
    "seq2seq-toy": [*SMALL, "data.recall=0,0,0,0,0", "model.width=8", "model.hidden=8"]
    + "model.encoder_layers=1 model.decoder_layers=1 model.heads=2 model.head_width=4".split(),
}
NUMBERS = ("-1", "nan", "-inf", "1e30", "x", "", "1,2,3,4,5,6,7")
# Senseless in any recipe: refused before anything is built or written, and the key is named.
SENSELESS = """
train.lr=nan train.lr=inf train.lr=-1 train.lr=0 train.min_lr=nan train.min_lr=-1 train.min_lr=inf
train.weight_decay=nan train.weight_decay=-1 train.clip_norm=-1 train.clip_norm=nan train.beta1=9
train.beta1=-1 train.beta1=nan train.beta2=1 train.beta2=9 train.eps=-1 train.eps=nan
train.warmup=-1 train.warmup=1e30 train.steps=0 train.steps=-5 train.steps=1e30 train.steps=1e300
train.batch_size=0 train.batch_size=-1 train.batch_size=1e30 train.accumulate=0
train.accumulate=1e30 train.seed=1e30 run.workers=-1 run.workers=1e9 train.workers=-1 run.keep=-1
train.keep=-1 run.eval_every=-1 run.save_every=-1 run.log_every=-1 run.precision=half
run.parallel=many run.compile=maybe run.checkpointing=2 data.context=0 data.context=-1
data.context=1e9 data.n_train=-1 data.objects=-1,2 data.objects=3,1 data.objects=1,99
data.objects=1 data.tokenizer=none-such
""".split()
MODELS = {
    "clip-toy": """model.embed=-1 model.embed=0 model.embed=1e9 model.text.heads=0
        model.text.heads=-2 model.text.layers=-1 model.text.layers=1e9 model.text.width=0
        model.text.width=1e9 model.text.context=0 model.text.vocab_size=0 model.text.vocab_size=5
        model.text.heads=3 model.image.width=0 model.image.width=1e9 model.image.heads=0
        model.image.image_size=0 model.image.image_size=1e9 model.image.layers=1,1
        model.image.layers=1,1,1,1e9 model.image.layers=0,-1,1,1 model.text.activation=sine
        data.augment=x data.templates=%s data.templates={{}} data.templates= data.source=
        data.source=none-such
        parts=image:none-such parts=no:clip-toy parts=image:clip-toy-vit parts=a:b:c:d
        train.batch_size=1""",
    "clip-toy-vit": """model.image.patch_size=0 model.image.patch_size=5 model.image.patch_size=64
        model.image.layers=0 model.image.layers=1e9 model.image.heads=0 model.image.heads=5
        model.image.width=-8 model.image.activation=sine data.augment=crop+flop""",
    "llm-toy": """model.width=0 model.width=-64 model.width=1e9 model.width=7 model.layers=0
        model.layers=1e9 model.heads=0 model.heads=3 model.hidden=-1 model.hidden=1e9
        model.vocab_size=1 model.vocab_size=-1 model.context=0 model.context=-1 model.context=1e9
        model.context=16 data.mixture=0,0,0,0 data.mixture=-1,1,1,1 data.mixture=1,1,1
        data.asked=-1 data.brief=-1 data.brief=101 data.focused=-1 data.focused=500
        data.recall=-1,0,0,0,0 data.tokenizer=/ data.learn_all=perhaps""",
    "seq2seq-toy": """model.width=0 model.encoder_layers=-1 model.encoder_layers=1e9
        model.decoder_layers=0 model.decoder_layers=1e9 model.heads=0 model.head_width=0
        model.head_width=-1 model.hidden=0 model.max_distance=0 model.max_distance=1e9
        model.vocab_size=0 model.start=-1 model.start=1e9""",
}
LONG, ODD = "x" * 10_000, "caf\udce9"  # a word that is not UTF-8, as Python reads it
OTHERS = [
    [], [""], ["-x"], ["--version=3"], ["trian"], ["TRAIN"], [LONG], [ODD], ["\x1b[31m"],
    *([command, "--nothing"] for command in ("train", "eval", "build", "grade", "claims", "lab")),
    *([command, word] for command in ("train", "eval", "checkpoints", "claims", "build", "grade",
                                      "lab", "course", "doctor")
      for word in (LONG, ODD, "a\x00b", "x\ny", " ", "=", "no/such/place", "{}", "%s")),
    *(["train", "clip-toy", word] for word in
      ("lr", "=", "=1", "train=1", "model=1", "train.=1", ".lr=1", "train..lr=1", "model.x.y.z=1",
       "train.lr", LONG, f"train.lr={LONG}", f"{LONG}=1", ODD, f"train.lr={ODD}", f"{ODD}=1",
       "name.x=1", "train.lr=1e", "train.steps=1.5", "train.steps=0x10", "train.steps=١٢x")),
    ["train"], ["eval"], ["grade"], ["train", "clip-toy", "--out"],
    ["eval", "clip-toy", "model.embed=64"], ["eval", "clip-vit-b32"],
    *(["eval", "clip-toy", "--checkpoint", place] for place in
      ("no-such", "", "mine.txt", ".", "/dev/null", LONG, ODD)),
    *(["grade", "mine.txt", *more] for more in
      (["--csv"], ["--csv", "x.txt"], ["--json", "no/x.json"], ["--seconds", "0"],
       ["--seconds", "x"], ["--memory", "-1"], ["--memory", "9" * 5000], ["--csv", LONG + ".csv"])),
    ["grade", "."], ["lab", "--port", "many"], ["lab", ".", "."], ["lab", "mine.txt"],
    ["chat", "mine.txt"], ["chat", "--port", "many"], ["chat", "--port", "-1"],
    ["chat", "--port", "9" * 5000],
    *(["claims", "--show", word] for word in ("clip", "clip.", "Clip.Real", "clip.zeroshot")),
    *(["build", "--check", word] for word in ("99", "clipp", "01_", ".py")),
]  # fmt: skip


class Hang(BaseException):
    """A case was not done in time; no `except Exception` swallows it."""


@pytest.fixture(autouse=True, scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with files of the user's, and stubs for what takes long or starts others."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("mine.txt", "config.json", "log.csv"):
        (folder / name).write_text("mine")
    evaluator, loader = Recipe.evaluator, loop.batches.loader

    def measured(recipe: Recipe) -> Any:
        evaluator(recipe)  # it may be refused, and reads no model yet
        return lambda model: {}

    def read(*arguments: Any) -> Any:
        *others, workers = arguments
        assert workers < 1000, "that many processes would be started"
        return loader(*others, min(workers, 0))

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, changes in TINY.items():  # once here, and not in each case
            patch.setitem(RECIPES, f"small-{name}", overrides.apply(RECIPES[name], changes))
        patch.setattr(Recipe, "evaluator", measured)
        patch.setattr(loop.batches, "loader", read)
        patch.setattr(zoo, "publish", lambda name: "")
        patch.setattr(claims, "run", lambda names: [])
        patch.setattr(build, "build", lambda names, force: build.lectures(names))
        patch.setattr(build, "course", lambda out: [])
        patch.setattr("vlcourse.teach.notebooks.readme.rewrite", lambda: False)
        patch.setattr("subprocess.call", lambda command: 0)
        yield folder


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """Limits of memory for one test, so that a number too large ends in an error of its own."""
    import resource

    status = Path("/proc/self/statm")
    before = resource.getrlimit(resource.RLIMIT_AS)
    if status.is_file():
        now = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, what is wrong with how it ended, what it said) of a command line."""

    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    wrong = ""
    try:
        code: Any = cli.main(argv)
    except SystemExit as end:
        code = end.code
    except Hang:
        code, wrong = -1, f"not done after {SECONDS} s"
    except BaseException as error:
        code, wrong = -1, f"{type(error).__name__}: {str(error)[:150]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    lines = capsys.readouterr().err.strip().splitlines()
    bar = "step/s]"  # of a run's steps
    err = "\n".join(line for line in lines if line and bar not in line)
    if code == 2 and not (err.startswith("vlcourse: ") and "\n" not in err and len(err) < 1200):
        wrong = f"not one sentence: {err[:300]!r}"
    elif code not in (0, 1, 2, -1):
        wrong = f"exit code {code}"
    return code, wrong, err


def train(
    recipe: str, word: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """The same for a training of one step, and whether it wrote anything where it was refused."""
    out = place / "run"
    code, wrong, err = said(["train", f"small-{recipe}", word, "--out", str(out)], capsys)
    if out.exists():
        written = [path.name for path in out.iterdir()]
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        out.rmdir()
        # What only a step or a measurement shows: a loss that is NaN, a metric that is not there.
        if code == 2 and "loss" not in err and "metric" not in err:
            wrong = wrong or f"refused, but it wrote {written}"
    return code, wrong, err


def untouched(folder: Path) -> bool:
    return {p.name: p.read_text() for p in folder.iterdir()} == dict.fromkeys(
        ("mine.txt", "config.json", "log.csv"), "mine"
    )


SENSELESS_LINES = [
    *(("clip-toy", word) for word in SENSELESS),
    *((recipe, word) for recipe, words in MODELS.items() for word in words.split()),
]


@pytest.mark.parametrize(("recipe", "word"), SENSELESS_LINES)
def test_senseless_settings(
    recipe: str, word: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, wrong, err = train(recipe, word, place, capsys)
    assert not wrong and code == 2, wrong or "accepted"
    key, _, value = word.partition("=")
    named = (key.rpartition(".")[2], value.split(":")[-1], "context", "size")
    assert any(name and name in err for name in named), (
        err
    )  # of two that do not fit, either is named
    assert untouched(place)


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("recipe", TINY)
def test_every_setting(
    recipe: str, value: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [row.key for row in overrides.describe(RECIPES[recipe])]
    assert len(keys) > 30
    ends = {f"{key}={value}": train(recipe, f"{key}={value}", place, capsys)[1] for key in keys}
    assert not {line: wrong for line, wrong in ends.items() if wrong}
    assert untouched(place)


@pytest.mark.parametrize("argv", OTHERS, ids=lambda argv: ascii(" ".join(argv))[:60])
def test_other_commands(argv: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, wrong, _ = said(argv, capsys)
    assert not wrong and code in (1, 2), wrong or "accepted"
    assert untouched(place)


KEYS = sorted({row.key for name in TINY for row in overrides.describe(RECIPES[name])})
VALUES = st.one_of(
    st.sampled_from(["0", "-0", "1e9", "1e18", "-1e18", "none", "true", "()", "[1]", "1:2", "{}"]),
    st.integers(-3, 3).map(str),
    st.integers(10**9, 10**40).map(str),
    st.floats(max_value=3).map(str),
    st.text(max_size=8),
    st.lists(st.integers(-2, 3), max_size=5).map(lambda numbers: ",".join(map(str, numbers))),
)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(sorted(TINY)), st.sampled_from(KEYS), VALUES)
def test_fuzzed_settings(
    place: Path, capsys: pytest.CaptureFixture[str], recipe: str, key: str, value: str
) -> None:
    _, wrong, _ = train(recipe, f"{key}={value}", place, capsys)
    assert not wrong
    assert untouched(place)


def test_there_are_enough_of_them() -> None:
    swept = sum(len(overrides.describe(RECIPES[name])) for name in TINY) * len(NUMBERS)
    assert len(SENSELESS_LINES) + swept + len(OTHERS) + 100 >= 1000
