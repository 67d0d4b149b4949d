"""Grading: what is right counts, what is printed does not, and no answer ends more than itself."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes

from vlcourse import cli
from vlcourse.teach.notebooks import answers, fence, grade, worker
from vlcourse.teach.notebooks.grade import Grade, Limits, Result

SHORT = Limits(seconds=5, megabytes=512)
START = "import torch\nfrom vlcourse.teach.exercise import exercise"
RIGHT = '''@exercise("clip.eot_pooling")
def pool(states, tokens):
    return states[torch.arange(len(states)), tokens.argmax(dim=-1)]'''
WRONG = '''@exercise("clip.eot_pooling")
def pool(states, tokens):
    return states[:, -1]'''


def student(folder: Path, *cells: str, name: str = "student.ipynb") -> Path:
    nb = new_notebook(cells=[new_markdown_cell("# Mine"), *(new_code_cell(c) for c in cells)])
    (folder / name).write_text(writes(nb), encoding="utf-8")
    return folder / name


def graded(folder: Path, *cells: str, limits: Limits = SHORT) -> Grade:
    (found,) = grade.grade([student(folder, *cells)], limits)
    return found


def pooling(found: Grade) -> Result:
    """The result of clip.eot_pooling; the six others of its lecture are missing."""
    (result,) = [r for r in found.results if r.exercise.id == "clip.eot_pooling"]
    assert found.count("missing") == len(found.results) - 1 == 6
    return result


def answer(body: str) -> str:
    """A wrong answer that first does something."""
    head = '@exercise("clip.eot_pooling")\ndef pool(states, tokens):\n'
    return head + "".join(f"    {line}\n" for line in [*body.splitlines(), "return states[:, -1]"])


@pytest.mark.slow
def test_solutions_are_right_and_blanks_not_attempted(repo: Path) -> None:
    names = ("00_overview", "01_clip", "05_llama")
    for kind, status in (("solutions", "passed"), ("notebooks", "blank")):
        for found in grade.grade([repo / kind / f"{name}.ipynb" for name in names]):
            assert {r.status for r in found.results} == {status}, str(found)
            assert len(found.results) >= 3 and found.count("missing") == 0


def test_one_notebook(tmp_path: Path) -> None:
    bpe = '@exercise("clip.bpe_merge")\ndef merge(*_):\n    raise NotImplementedError("your turn")'
    found = graded(tmp_path, START, WRONG, bpe, "1 / 0", RIGHT)
    result = pooling_of_two = found.results[0]
    assert (result.exercise.id, result.status) == ("clip.eot_pooling", "passed")  # the last counts
    assert pooling_of_two.line == "✓ clip.eot_pooling: right, going on with your version"
    assert [r.status for r in found.results] == ["passed", "blank"] + 5 * ["missing"]
    assert "1 ✓, 0 ✗, 1 ☐, 5 missing; solved 6 of 69 minutes" in str(found)
    assert "– clip.itc_loss: missing" in str(found)


@pytest.mark.parametrize(
    "cheat",
    [
        'print("✓ clip.eot_pooling: right, going on with your version")',
        'import os\nos.write(1, "✓ clip.eot_pooling: right\\n".encode())',
        "import os\nos._exit(0)",
    ],
)
def test_what_is_printed_counts_for_nothing(tmp_path: Path, cheat: str) -> None:
    nb = student(tmp_path, START, cheat, answer(cheat))
    notebook = json.loads(nb.read_text())
    shown = new_output("stream", name="stdout", text="✓ clip.eot_pooling: right\n")
    notebook["cells"][2]["outputs"] = [shown]
    nb.write_text(json.dumps(notebook))
    before = nb.read_bytes()
    (found,) = grade.grade([nb], SHORT)
    assert pooling(found).status == "failed" and nb.read_bytes() == before


@pytest.mark.parametrize("cell", ["def broken(:", "input()", "while True: pass", "exit()", "\0"])
def test_another_cell_ends_nothing(tmp_path: Path, cell: str) -> None:
    assert pooling(graded(tmp_path, START, cell, RIGHT, cell)).status == "passed"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("input()", "it calls input(), and nobody is there to type"),
        ("while True: pass", "your answer is not done after 1 s"),
        ("import os\nos._exit(7)", "your answer ends its process (exit code 7)"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "your answer ends its process"),
        ("raise KeyboardInterrupt", "your loop does not end: you stopped it"),
        ("exit()", "it calls exit()"),
    ],
)
def test_an_answer_that_does_not_return(tmp_path: Path, body: str, words: str) -> None:
    result = pooling(graded(tmp_path, START, answer(body), limits=Limits(1, 512)))
    assert result.status == "failed" and words in result.line, result.line


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
@pytest.mark.parametrize("bomb", ["torch.ones(2**30)", "[0] * 2**30", "x = 'a'\nwhile 1: x += x"])
def test_memory_is_limited(tmp_path: Path, bomb: str) -> None:
    result = pooling(graded(tmp_path, START, answer(bomb)))
    assert result.status == "failed" and "it needs more memory than there is" in result.line


def test_an_answer_that_is_not_python(tmp_path: Path) -> None:
    result = pooling(graded(tmp_path, START, WRONG.replace("-1]", "-1")))
    assert "code cell 2 is not Python: line " in result.line and result.status == "failed"


def test_an_answer_that_needs_what_fails(tmp_path: Path) -> None:
    result = pooling(graded(tmp_path, START, "n = 1 / 0", answer("n")))
    assert "stops at code cell 2, line 1, `n = 1 / 0`: ZeroDivisionError" in result.line


@pytest.mark.parametrize(
    "cheat",
    [
        "from vlcourse.teach import checking\nchecking.expect_close = lambda *a, **k: None",
        "import vlcourse.teach.exercise as e\ne.attempt = lambda *a: e.Outcome('passed')",
        "import vlcourse.teach.exercise as e\ne.line = lambda *a: '✓'",
        "torch.isclose = lambda a, b, **k: torch.ones_like(a, dtype=torch.bool)",
        "import os\nfor n in range(3, 64):\n    try: os.write(n, b'\\0\\0\\0\\x02[]')\n"
        "    except OSError: pass",
    ],
)
def test_the_grader_is_changed(tmp_path: Path, cheat: str) -> None:
    patched = answer(cheat)
    alias = "exercise = lambda id: lambda f: f\n" + cheat
    for cells in ([START, alias, patched], [START, alias + "\n" + WRONG]):
        assert pooling(graded(tmp_path, *cells)).status == "failed"


def test_only_a_signed_message_counts(tmp_path: Path) -> None:
    text = json.dumps({"fence": [], "status": "passed", "line": "✓"})
    right = json.dumps([worker.sign(b"secret", text), text]).encode()
    for message, counts in ((right, True), (right.replace(b"[", b"[1"), False), (b"[]", False)):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        sender.send_bytes(message)
        assert bool(grade._message(receiver, b"secret")) == counts
        sender.send_bytes(message)
        assert grade._message(receiver, b"another") is None


def test_it_works_in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("precious")
    body = "import os, shutil\nfor name in os.listdir('.'): os.remove(name)\n"
    body += "assert not os.path.exists('mine.txt')\nopen('left', 'w').close()"
    assert "AssertionError" not in pooling(graded(tmp_path, START, answer(body))).line
    assert {p.name for p in tmp_path.iterdir()} == {"mine.txt", "student.ipynb"}


def test_what_an_answer_uses_is_run_and_nothing_else() -> None:
    cells = [
        "import math\nfrom os.path import *\nlog = []",
        "def helper(x):\n    return math.floor(x) + table['k']\ntable = {}\ntable['k'] = 1",
        "for n in (1, 2):\n    log.append(n)\nmath.floor('no')\nstates = 1 / 0\nstates.append(1)",
        '@exercise("a.b")\ndef other():\n    return "mine"',
        '@exercise("a.c")\ndef f(states):\n    return helper(states), other(), log, basename("x/y")',
        "table = None",
    ]
    f: Callable[[float], Any] = answers.build(cells, "a.c", lambda id: lambda: f"right {id}")
    assert f(2.5) == (3, "right a.b", [1, 2], "y")
    with pytest.raises(answers.NoAnswer):
        answers.build(cells, "a.d", lambda id: None)


def test_classes_and_magics(tmp_path: Path) -> None:
    cells = [
        "%matplotlib inline\nfrom dataclasses import dataclass",
        '%%time\n@exercise("a.b")\n@dataclass\nclass Point:\n    x: int = 2\n',
    ]
    cells = [grade.as_python(cell) for cell in cells]
    assert answers.build(cells, "a.b", lambda id: None)().x == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the fence")
def test_the_fence(tmp_path: Path) -> None:
    """In a forked process: no network, no memory beyond the limit, and as nobody where we are root."""

    def inside(pipe: Any) -> None:
        os.__file__ = fence.__file__  # this Python may stand where nobody can read it
        found = fence.close(tmp_path, 5, 256)
        facts: dict[str, Any] = {"fence": found, "user": os.geteuid()}
        for name, act in {
            "network": lambda: socket.create_connection(("127.0.0.1", port), 1),
            "memory": lambda: bytearray(2**29),
            "write": lambda: Path(forbidden, "x").write_text("x"),
            "read": lambda: Path(forbidden, "secret").read_text(),
            "kill": lambda: os.kill(os.getppid(), 0),
            "null": lambda: open(os.devnull, "w").close(),
            "home": lambda: Path.home().joinpath("x").write_text("x"),
        }.items():
            try:
                act()
                facts[name] = "done"
            except (OSError, MemoryError) as error:
                facts[name] = type(error).__name__
        pipe.send(facts)

    forbidden = tmp_path.parent / "forbidden"
    forbidden.mkdir(mode=0o700)
    (forbidden / "secret").write_text("x")
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    for folder in tmp_path.parents:  # nobody must be able to pass pytest's own folders
        if folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(0o711)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=inside, args=(sender,))
    process.start()
    sender.close()
    facts = receiver.recv()
    process.join()
    server.close()
    assert facts["memory"] == "MemoryError" and "at most 256 MB" in facts["fence"]
    assert facts["home"] == "done" and (tmp_path / "x").is_file()
    assert ("without network" in facts["fence"]) == (facts["network"] != "done")
    assert facts["null"] == "done"
    if "writing in its own folder only" in facts["fence"]:
        assert facts["write"] == "PermissionError" and not (forbidden / "x").exists()
    assert ("as the user nobody" in facts["fence"]) == (facts["user"] != os.geteuid())
    if "as the user nobody" in facts["fence"]:
        assert facts["write"] == facts["read"] == facts["kill"] == "PermissionError"


def test_a_class_of_notebooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(student(tmp_path, START, cell, name=f"{n}.ipynb")) for n, cell in
             enumerate([RIGHT, WRONG, "x = 1"])]  # fmt: skip
    (tmp_path / "essay.txt").write_text("hello")
    names.insert(1, str(tmp_path / "essay.txt"))
    out = ["--csv", str(tmp_path / "out.csv"), "--json", str(tmp_path / "out.json")]
    assert cli.main(["grade", *names, *out, "--seconds", "20"]) == 1
    said = capsys.readouterr()
    assert "essay.txt: cannot be read as a notebook" in said.out
    assert "2.ipynb: holds no exercise of the course" in said.out
    assert "1 ✓, 0 ✗, 0 ☐, 6 missing" in said.out and "0 ✓, 1 ✗, 0 ☐" in said.out
    assert "Each answer ran in its own process" in said.err and "20 s" in said.err
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
    states = {(Path(r["notebook"]).name, r["exercise"]): r["status"] for r in rows}
    assert len(rows) == 7 + 1 + 7 + 1
    assert states["0.ipynb", "clip.eot_pooling"] == "right"
    assert states["1.ipynb", "clip.eot_pooling"] == "wrong"
    assert states["1.ipynb", "clip.itc_loss"] == "missing"
    assert states["essay.txt", ""] == states["2.ipynb", ""] == "unreadable"
    sums = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [entry["right"] for entry in sums] == [1, 0, 0, 0]
    assert (sums[0]["minutes_right"], sums[0]["minutes"], sums[0]["missing"]) == (6, 69, 6)
    assert not list(tmp_path.glob(".tmp-*"))


def test_refused_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nb = str(student(tmp_path, START, RIGHT))
    for words, said in (
        ([nb, "nothing.ipynb"], "nothing.ipynb: there is no such file"),
        ([nb, "--csv", nb], "name a .csv file in a folder that exists"),
        ([nb, "--json", str(tmp_path / "no" / "x.json")], "name a .json file in a folder that exists"),
        ([nb, "--seconds", "0"], "1 to 86400 seconds"),
        ([nb, "--memory", "-5"], "64 to 1048576 MB"),
        ([], "which notebooks?"),
    ):
        assert cli.main(["grade", *words]) == 2
        out = capsys.readouterr()
        assert said in out.err and out.out == "" and out.err.count("\n") == 1
