"""A small lecture for the tests of the builder and of the lint."""

from __future__ import annotations

from pathlib import Path

LECTURE = '''# %% [markdown]
# # 01 · Toy
#
# 5 minutes to read, 1 minutes to run.
#
# ## Objectives
# To build a lecture.
#
# ## Terms
# | term | 中文 |
# |---|---|
# | scene | 场景 |

# %%
from tqdm.auto import tqdm

from vlcourse.teach import show
from vlcourse.teach.exercise import exercise

show.style()

# %%
# NBVAL_CHECK_OUTPUT
@exercise("world.is_true")
def is_true(fact, objects):
    """Is the fact true of the objects?"""
    ### BEGIN SOLUTION
    from vlcourse.data.world.facts import holds

    return holds(fact, objects)
    ### END SOLUTION


# %%
import os
import warnings

warnings.warn("noise on stderr")
for _ in tqdm(range(3)):
    pass
print(os.getcwd(), os.listdir("."), object(), os.environ["HF_HUB_OFFLINE"])
print("half\\rwhole")

# %%
# NBVAL_CHECK_OUTPUT
show.curve([{"step": i, "loss": 1 / (i + 1)} for i in range(5)], ["loss"])

# %%
# NBVAL_CHECK_OUTPUT
from vlcourse.teach import claims

print(claims.get("clip.real").metric)

# %% [markdown]
# ## Claims
# ## Scale it up
# ## Corrections
# ## Recap
# ## Quiz
# Why? <details>Because.</details>
'''


def write(root: Path, text: str = LECTURE) -> Path:
    (root / "lectures").mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text(
        '[project.urls]\nRepository = "https://github.com/someone/toy"\n'
    )
    path = root / "lectures" / "01_toy.py"
    path.write_text(text, encoding="utf-8")
    return path
