"""README.md's tables, and the grading of notebooks."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from vlcourse.teach.notebooks import grade
from vlcourse.teach.notebooks import readme

LECTURE = """# %% [markdown]
# # 07 · A title
#
# **25 minutes to read** · **3 minutes to run**

# %%
@exercise("clip.itc_loss")
def f():
    ...
"""


def test_the_readme_of_the_course_is_up_to_date(repo: Path) -> None:
    assert readme.stale() == []


def test_lecture_table_is_read_off_the_sources(tmp_path: Path) -> None:
    (tmp_path / "lectures").mkdir()
    (tmp_path / "lectures" / "07_title.py").write_text(LECTURE)
    row = readme.lectures_markdown(tmp_path).splitlines()[-1]
    assert row == (
        "| [07 · A title](notebooks/07_title.ipynb) ([answers](solutions/07_title.ipynb)) "
        "| 1 | 25 min | 3 min |"
    )


def test_rewrite_fills_both_blocks_and_keeps_the_rest(tmp_path: Path) -> None:
    (tmp_path / "lectures").mkdir()
    (tmp_path / "lectures" / "07_title.py").write_text(LECTURE)
    blocks = "".join(f"<!-- BEGIN {n} -->\n<!-- END {n} -->\n" for n in ("lectures", "claims"))
    (tmp_path / "README.md").write_text(f"top\n{blocks}end\n")
    assert readme.stale(tmp_path) == ["lectures", "claims"]
    assert readme.rewrite(tmp_path) and not readme.rewrite(tmp_path)
    assert readme.stale(tmp_path) == []
    text = (tmp_path / "README.md").read_text("utf-8")
    assert text.startswith("top\n") and text.endswith("end\n")
