"""A toy lecture becomes two notebooks, executed once, checked when stale, and accepted by nbval."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from toy_lecture import LECTURE, write

from vlcourse.teach.notebooks import build
from vlcourse.teach.notebooks import closure
from vlcourse.teach.notebooks import lecture
from vlcourse.teach.notebooks import lint
from vlcourse.teach.notebooks.lecture import BuildError


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("course")
    write(root)
    assert build.build(root=root) == ["solutions/01_toy", "notebooks/01_toy"]
    return root


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """A copy of the built course, to spoil."""
    shutil.copytree(built, tmp_path / "course")
    return tmp_path / "course"


def read(root: Path, kind: str) -> nbformat.NotebookNode:
    return nbformat.read(root / kind / "01_toy.ipynb", as_version=4)


def outputs(root: Path, kind: str) -> list[str]:
    cells = [cell for cell in read(root, kind).cells if cell.cell_type == "code"]
    return ["".join(o.get("text", "") for o in cell.outputs) for cell in cells]


def test_solution_and_blank(built: Path) -> None:
    blank, solution = read(built, "notebooks"), read(built, "solutions")
    assert "SOLUTION" not in str(blank) + str(solution)
    assert '    raise NotImplementedError("your turn")' in blank.cells[4].source.splitlines()
    assert "holds" not in blank.cells[4].source and "return holds" in solution.cells[4].source
    assert [c.source for i, c in enumerate(blank.cells) if i not in (0, 4)] == [
        c.source for i, c in enumerate(solution.cells) if i not in (0, 4)
    ]
    assert blank.cells[4].metadata == {"tags": ["raises-exception"]}  # "run all" goes on after it
    assert not any(c.metadata for c in [*blank.cells[5:], *solution.cells[2:]])
    assert outputs(built, "notebooks")[2].startswith("☐ world.is_true: not attempted")
    assert outputs(built, "solutions")[2].startswith("✓ world.is_true")


def test_more_is_stored_folded(tmp_path: Path) -> None:
    write(tmp_path, LECTURE.replace("# ## Recap", "# ## Recap\n\n# %% [markdown]\n# ## More · A"))
    nb = lecture.make(lecture.lectures(root=tmp_path)[0], "notebooks")
    folded = [c for c in nb.cells if c.metadata.get("jp-MarkdownHeadingCollapsed")]
    assert [c.source.splitlines()[0] for c in folded] == ["## More · A"]


def test_first_cells(built: Path) -> None:
    links, setup = read(built, "notebooks").cells[:2]
    assert "colab.research.google.com/github/someone/toy/blob/main/notebooks/01_toy" in links.source
    assert "mybinder.org/v2/gh/someone/toy/main?labpath=notebooks/01_toy.ipynb" in links.source
    assert '%pip install -q "vlcourse @ git+https://github.com/someone/toy"' in setup.source


def test_outputs_belong_to_no_machine(built: Path) -> None:
    for kind in lecture.KINDS:
        text = outputs(built, kind)[3]
        assert text == ". [] <object object at 0x…> 1\nwhole\n"
        stored = (built / kind / "01_toy.ipynb").read_text(encoding="utf-8")
        for mine in ('"stderr"', "widget", str(built), str(Path.home()) + "/", "execution_time"):
            assert mine not in stored
        figures = [o for c in read(built, kind).cells for o in c.get("outputs", []) if "data" in o]
        assert len([o for o in figures if "image/png" in o.data]) == 1
    versions = read(built, "solutions").metadata.vlcourse.versions
    assert versions.python == sys.version.split()[0]


def test_a_second_build_executes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (root / "solutions" / "01_toy.ipynb").stat().st_mtime_ns
    assert build.build(["toy"], root=root) == []
    assert (root / "solutions" / "01_toy.ipynb").stat().st_mtime_ns == before
    assert capsys.readouterr().out.count("up to date") == 2
    assert build.check(root=root) == [] and lint.lint(root=root) == []


def test_new_prose_keeps_the_outputs(root: Path) -> None:
    before = outputs(root, "solutions")
    write(root, LECTURE.replace("To build a lecture.", "To build a notebook."))
    assert all("its cells differ from lectures/01_toy.py" in p for p in build.check(root=root))
    assert len(build.check(root=root)) == 2
    assert build.build(root=root) == []
    assert build.check(root=root) == [] and outputs(root, "solutions") == before
    assert "To build a notebook." in str(read(root, "notebooks"))


def test_check_tells_what_is_wrong(root: Path) -> None:
    path = root / "solutions" / "01_toy.ipynb"
    nb = read(root, "solutions")
    nb.cells[4].outputs = []
    nb.cells[5].execution_count = None
    nb.cells[6].outputs = [nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])]
    nb.cells[7].outputs[0].text = "✗ clip.x: wrong"
    nb.metadata.vlcourse.code_sha256 = "0"
    nbformat.write(nb, path)
    (root / "notebooks" / "02_gone.ipynb").write_text("{}")
    (root / "notebooks" / "01_toy.ipynb").unlink()
    assert build.check(root=root) == [
        "solutions/01_toy.ipynb: the code it uses changed since it was executed,"
        " run `vlcourse build`",
        "solutions/01_toy.ipynb: code cell 3 is checked by nbval but stores no output",
        "solutions/01_toy.ipynb: code cell 4 was never executed",
        "solutions/01_toy.ipynb: code cell 5 stores an error",
        "solutions/01_toy.ipynb: code cell 6: solutions should show ✓ here, not '✗ clip.x: wrong'",
        "notebooks/01_toy.ipynb: missing, run `vlcourse build`",
        "notebooks/02_gone.ipynb: there is no lectures/02_gone.py",
    ]


@pytest.mark.slow
def test_nbval_accepts_what_was_built(built: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--nbval-lax", "--nbval-current-env", "notebooks", "solutions"],
        cwd=built,
        env={**os.environ, "VLCOURSE_QUICK": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 passed" in done.stdout


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("1 / 0", r"02_bad: code cell 2 \(`1 / 0`\) raised ZeroDivisionError: division by zero"),
        ("# NBVAL_CHECK_OUTPUT\nx = 1", "code cell 2 is checked by nbval but has no output"),
    ],
)
def test_a_failing_cell_stores_nothing(tmp_path: Path, cell: str, words: str) -> None:
    write(tmp_path).rename(tmp_path / "lectures" / "02_bad.py")
    (tmp_path / "lectures" / "02_bad.py").write_text(f"# %%\n{cell}\n")
    with pytest.raises(BuildError, match=words):
        build.build(["02"], root=tmp_path)
    assert not (tmp_path / "solutions").exists()


def test_checked_cells_print_nothing_of_this_machine(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(
        "# %%\n# NBVAL_CHECK_OUTPUT\nprint(object())\n"
        "# %%\n# NBVAL_CHECK_OUTPUT\nimport sys\nprint(1)\nprint(2, file=sys.stderr)\n"
    )
    with pytest.raises(BuildError) as error:
        build.build(root=tmp_path)
    assert "code cell 2 is checked by nbval but prints a path or an address" in str(error.value)
    assert "code cell 3 is checked by nbval but writes to stderr" in str(error.value)


def test_course_writes_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    path.write_text(
        "# %%\nfrom vlcourse.teach import show\n\nprint('ran')\n"
        "show.curve([{'step': 1, 'loss': 2.0}], ['loss'])\n"
    )
    notebook, page = build.course(tmp_path / "build", root=tmp_path)
    assert notebook.name == "01_toy.ipynb"
    text = page.read_text(encoding="utf-8")
    assert "data:image/png;base64" in text and "ran" in text
    assert not re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="https?:', text)
    assert "<script" not in text
    out = capsys.readouterr().out
    assert "[1/1] 01_toy" in out and "clip.real: " in out


def test_names(built: Path) -> None:
    for name in ("01", "toy", "01_toy", "01_toy.py"):
        assert [x.name for x in lecture.lectures([name], built)] == ["01_toy"]
    with pytest.raises(BuildError, match="no lecture 'tyo'; did you mean 'toy'"):
        lecture.lectures(["tyo"], built)


def test_strip() -> None:
    text = f"def f():\n    a = 1\n    {lecture.BEGIN}\n    return a\n    {lecture.END}\n\ng = 2"
    assert lecture.strip(text, blank=False) == "def f():\n    a = 1\n    return a\n\ng = 2"
    blank = 'def f():\n    a = 1\n    raise NotImplementedError("your turn")\n\ng = 2'
    assert lecture.strip(text, blank=True) == blank
    for bad in (lecture.BEGIN, lecture.END, f"{lecture.BEGIN}\n{lecture.BEGIN}\n{lecture.END}"):
        with pytest.raises(BuildError):
            lecture.strip(bad, blank=True)


def test_closure(tmp_path: Path) -> None:
    package = tmp_path / "vlcourse"
    for name, text in {
        "__init__.py": "",
        "a.py": "from vlcourse.sub import b",
        "sub/__init__.py": "from vlcourse.sub.b import f as f\nfrom vlcourse.sub.c import g as g\n",
        "sub/b.py": "from vlcourse import a",
        "sub/c.py": "",
        "teach/__init__.py": "",
        "teach/checking.py": "",
        "teach/clip/__init__.py": "",
        "teach/clip/figures.py": "from vlcourse import a",
        "teach/clip/exercises/__init__.py": "",
        "teach/clip/exercises/model.py": "from vlcourse import a",
        "teach/overview/exercises/world.py": "",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    for data in ("claims/clip.real.json", "checkpoints/clip-toy/card.json"):
        (tmp_path / "data" / data).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / data).write_text("{}")

    def names(code: str) -> list[str]:
        found = [p.relative_to(tmp_path).as_posix() for p in closure.files(code, tmp_path)]
        return [name.removeprefix("vlcourse/") for name in found]

    assert names("from vlcourse import a") == ["a.py"]  # and not what that imports
    assert names("from vlcourse.sub import f") == ["sub/__init__.py", "sub/b.py"]
    assert names("from vlcourse import sub\nsub.g()") == ["sub/__init__.py", "sub/c.py"]
    lecture = ["__init__", "exercises/__init__", "exercises/model", "figures"]
    clip = [f"teach/clip/{name}.py" for name in lecture]
    assert names('exercise("clip.itc_loss")') == clip
    assert names("from vlcourse.teach.clip import figures") == clip
    assert names("from vlcourse.teach import checking") == ["teach/checking.py"]
    assert names('exercise("world.is_true")') == ["teach/overview/exercises/world.py"]
    assert names('f("clip-toy", "alone")') == ["data/checkpoints/clip-toy/card.json"]
    assert "data/claims/clip.real.json" in names('claim("clip.real")')


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("vlcourse/models/a.py", True),  # it imports this
        ("vlcourse/engine/loop.py", False),  # only the library does
        ("vlcourse/teach/clip/exercises/model.py", True),
        ("vlcourse/teach/clip/figures.py", True),
        ("vlcourse/teach/clip/plots.py", True),
        ("vlcourse/teach/llama/figures.py", False),
        ("data/claims/clip.real.json", True),
        ("data/claims/clip.robust.json", False),
        ("data/checkpoints/clip-toy/card.json", True),
    ],
)
def test_what_makes_a_lecture_stale(tmp_path: Path, changed: str, stale: bool) -> None:
    lines = [
        "from vlcourse.models import a",
        "model = zoo.load('clip-toy')",
        "row = claims.stored('clip.real')",
        "@exercise('clip.itc_loss')\ndef loss():\n    ...",
    ]
    write(tmp_path, "# %%\n" + "\n".join(lines) + "\n")
    for name, text in {
        "vlcourse/models/a.py": "from vlcourse.engine import loop",
        "vlcourse/teach/clip/exercises/__init__.py": "",
        changed: "1",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (toy,) = lecture.lectures(root=tmp_path)

    def hashed() -> str:
        return str(lecture.make(toy, "solutions").metadata["vlcourse"]["code_sha256"])

    before = hashed()
    assert hashed() == before
    (tmp_path / changed).write_text("2")
    assert (hashed() != before) == stale
