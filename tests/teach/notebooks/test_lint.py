"""Near misses of markers, missing sections and unknown ids are found without running a lecture."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_lecture import LECTURE, write

from vlcourse.teach.notebooks import lint


def problems(root: Path, old: str, new: str) -> str:
    assert old in LECTURE
    write(root, LECTURE.replace(old, new))
    return "\n".join(lint.lint(root=root))


def test_the_toy_lecture_is_clean(tmp_path: Path) -> None:
    write(tmp_path)
    assert lint.lint(root=tmp_path) == []


CHECK = '# NBVAL_CHECK_OUTPUT\n@exercise("world.is_true")'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (CHECK, CHECK.replace("# NB", "#NB"), "code cell 2: '#NBVAL_CHECK_OUTPUT' is no marker"),
        (CHECK, CHECK.replace("OUTPUT", "OUTPUTS"), "'# NBVAL_CHECK_OUTPUTS' is no marker"),
        (CHECK, CHECK.replace("NBVAL_", "NB-VAL "), "is no marker"),
        (CHECK, CHECK.replace("CHECK_OUTPUT", "SKIP"), "'# NBVAL_SKIP' is no marker"),
        (CHECK, '@exercise("world.is_true")', "the same everywhere: mark it"),
        ("### BEGIN SOLUTION", "### BEGIN_SOLUTION", "'### BEGIN_SOLUTION' is no marker"),
        ("### BEGIN SOLUTION", "## BEGIN SOLUTION", "'## BEGIN SOLUTION' is no marker"),
        ("### BEGIN SOLUTION", "###BEGIN SOLUTION", "'###BEGIN SOLUTION' is no marker"),
        ("### END SOLUTION", "### End solution", "'### End solution' is no marker"),
        ("    ### END SOLUTION\n", "", "without '### END SOLUTION' after it"),
        ("    ### BEGIN SOLUTION\n", "", "without '### BEGIN SOLUTION' before it"),
        ("    ### BEGIN", "### BEGIN", "must be indented"),
        ('@exercise("world.is_true")\n', "", "a solution outside of an @exercise"),
        ("world.is_true", "world.is_truee", "did you mean 'world.is_true'"),
        ('claims.get("clip.real").metric', 'claims.claim("clip.reel", 1)', "mean 'clip.real'"),
        ("claims.get", 'claims.ledger_rows(["clip.zero"]) or claims.get', "'clip.zero_shot'"),
        ("# %%\n# NBVAL", '# %% tags=["raises-exception"]\n# NBVAL', "hides failures"),
        ("# # 01 · Toy", "# 01 · Toy", "begin with the title"),
        ("minutes to read", "minutes", "`N minutes to read`"),
        ("minutes to run", "minutes", "`N minutes to run`"),
        ("场景", "scene", None),
        ("| term | 中文 |\n# |---|---|\n# | scene | 场景 |", "scene", "lacks the Chinese terms"),
        ("## Recap", "## Summary", "`## Recap` is missing"),
        ("<details>Because.</details>", "Because.", "must be folded"),
        ("<details>Because.</details>", "<details>Because.", "must be folded"),
        ("import warnings\n", "import warnings (\n", "code cell 3: "),
    ],
)
def test_problem_is_found(tmp_path: Path, old: str, new: str, words: str | None) -> None:
    found = problems(tmp_path, old, new)
    assert found == "" if words is None else words in found, found


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("# " + "word " * 5001, "the core has 5,0"),
        ("# ## More · Aside\n#\n# " + "word " * 5001, ""),
        ("# **Exercise** (9 minutes, difficulty 1 of 3)", "world.is_true takes 10 minutes"),
        ("# **Exercise** (10 minutes, difficulty 1 of 3)", ""),
    ],
)
def test_what_a_first_reader_is_asked_to_do(tmp_path: Path, more: str, words: str) -> None:
    text = LECTURE.replace("# | scene | 场景 |\n", f"# | scene | 场景 |\n#\n{more}\n")
    write(tmp_path, text)
    found = "\n".join(lint.lint(root=tmp_path))
    assert words in found if words else not found, found


def test_an_exercise_must_not_hand_out_its_answer(tmp_path: Path) -> None:
    text = LECTURE.replace("    ### BEGIN SOLUTION\n", "").replace("    ### END SOLUTION\n", "")
    write(tmp_path, text)
    assert "hands out its answer" in "\n".join(lint.lint(root=tmp_path))


def test_sections_that_lecture_00_may_leave_out(tmp_path: Path) -> None:
    path = write(tmp_path, LECTURE.replace("# ## Corrections\n", ""))
    assert "`## Corrections` is missing" in lint.lint(root=tmp_path)[0]
    path.rename(path.with_name("00_toy.py"))
    assert lint.lint(root=tmp_path) == []
