"""The cache lies where this user can write, and the temporary folder has room for sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rights import without_rights

from vlcourse import paths

VARIABLES = ("VLCOURSE_CACHE", "VLCOURSE_DATA", "XDG_CACHE_HOME", "HOME", "TMPDIR")


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A path that can be made into no folder by anybody, root neither: it lies below a file."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "cache"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An installed package, none of the variables set but the temporary folder's."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "in_checkout", lambda: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return monkeypatch


def test_the_order_of_the_caches(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("HOME", str(tmp_path / "home"))
    assert paths.cache_dir() == tmp_path / "home" / ".cache" / "vlcourse"
    bare.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert paths.cache_dir() == tmp_path / "xdg" / "vlcourse"
    bare.setenv("VLCOURSE_DATA", str(tmp_path / "data"))
    assert paths.cache_dir() == tmp_path / "data" / "cache"
    bare.setenv("VLCOURSE_CACHE", str(tmp_path / "mine"))
    assert paths.cache_dir() == tmp_path / "mine"
    assert paths.data_dir() == tmp_path / "data", "the cache alone moves"
    assert paths.cache_dir("zoo") == tmp_path / "mine" / "zoo" and (tmp_path / "mine/zoo").is_dir()


def test_a_checkout_keeps_its_cache(repo: Path, bare: pytest.MonkeyPatch) -> None:
    bare.undo()
    bare.delenv("VLCOURSE_CACHE", raising=False)
    bare.delenv("VLCOURSE_DATA", raising=False)
    assert paths.cache_candidates()[0] == repo / "data" / "cache"


def test_no_home_and_no_place_ends_in_a_temporary_folder(
    bare: pytest.MonkeyPatch, tmp_path: Path, nowhere: Path
) -> None:
    for name in ("VLCOURSE_CACHE", "VLCOURSE_DATA", "XDG_CACHE_HOME"):
        bare.setenv(name, str(nowhere))
    folder = paths.cache_dir()
    assert folder.parent == tmp_path and folder.is_dir()
    assert folder == paths.cache_dir(), "the next call and the next process find it again"
    assert folder.stat().st_mode & 0o077 == 0 or os.name == "nt"


def test_an_unknown_home_makes_no_folder_called_tilde(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(os.path, "expanduser", lambda path: path)  # as without HOME and a passwd entry
    bare.setenv("VLCOURSE_CACHE", "~/cache")
    assert paths.cache_candidates() == []


def test_a_temporary_folder_that_is_someone_elses_link_is_not_used(
    bare: pytest.MonkeyPatch, tmp_path: Path, nowhere: Path
) -> None:
    bare.setenv("HOME", str(nowhere))
    (tmp_path / "trap").mkdir()
    paths.cache_dir().rmdir()
    link = tmp_path / f"vlcourse-{os.getuid()}"
    link.symlink_to(tmp_path / "trap")
    assert paths.cache_dir() not in (link, tmp_path / "trap") and paths.cache_dir().is_dir()


def test_no_folder_at_all_is_one_sentence(bare: pytest.MonkeyPatch, nowhere: Path) -> None:
    bare.setenv("HOME", str(nowhere))
    bare.setattr(tempfile, "tempdir", str(nowhere))
    with pytest.raises(paths.CacheError, match="name a folder of your own in VLCOURSE_CACHE"):
        paths.cache_dir()


READ = """
from vlcourse import paths
from vlcourse.data.sources.images import open_source
source = open_source("{file}", image="image", caption="text")
print(paths.cache_dir("datasets"), source[0]["caption"])
"""


def test_a_cache_of_someone_else_does_not_stop_a_reader(tmp_path: Path) -> None:
    """The cache can be written, but what lies in it for parquet files was made by another user."""
    import io

    import pyarrow
    import pyarrow.parquet
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    table = pyarrow.table({"image": [{"bytes": buffer.getvalue()}], "text": ["a red square"]})
    pyarrow.parquet.write_table(table, tmp_path / "one.parquet")
    foreign = tmp_path / "mine" / "datasets" / "parquet"
    foreign.mkdir(parents=True)
    foreign.chmod(0o555)
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o555)
    settings = {"VLCOURSE_CACHE": str(tmp_path / "mine"), "HOME": str(home)}
    settings |= {"XDG_CACHE_HOME": str(home), "TMPDIR": str(tmp_path), "VLCOURSE_DATA": str(home)}
    code = READ.format(file=tmp_path / "one.parquet")
    command = [*without_rights(), sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, caption = done.stdout.split(maxsplit=1)
    assert caption.strip() == "a red square"
    assert where == str(tmp_path / f"vlcourse-{os.getuid()}" / "datasets")


WORKERS = """
import tiny, torch
from vlcourse import paths
from vlcourse.engine import batches, parallel
print(len(paths.tempfile.gettempdir()))
(train, _), ranks = tiny.config(), parallel.Ranks("none", torch.device("cpu"))
batch = next(batches.loader(tiny.Pairs(), tiny.collate, train, ranks, range(2), 1))
print(len(batch["x"]) == train.batch_size)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_long_temporary_folder_has_room_for_the_sockets_of_workers(
    repo: Path, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    places = (repo, repo / "tests")
    done = subprocess.run(
        [sys.executable, "-c", WORKERS],
        env=os.environ | {"TMPDIR": str(long), "PYTHONPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    length, whole = done.stdout.split()
    assert int(length) > 100 and whole == "True"


LECTURE = """
import sys
from pathlib import Path
import nbformat
from vlcourse.teach.notebooks.execute import execute
cell = "# NBVAL_CHECK_OUTPUT\\nimport matplotlib.pyplot\\nprint('drawn')"
nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
print(execute(nb, Path(sys.argv[1]), 100).cells[0].outputs[0].text)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_lecture_runs_with_a_home_that_cannot_be_written_and_a_long_temporary_folder(
    repo: Path, tmp_path: Path
) -> None:
    home, long = tmp_path / "home", tmp_path / ("x" * 100)
    home.mkdir()
    home.chmod(0o555)
    long.mkdir()
    settings = {"HOME": str(home), "TMPDIR": str(long), "VLCOURSE_CACHE": str(tmp_path / "cache")}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MPL"))}
    done = subprocess.run(
        [*without_rights(), sys.executable, "-c", LECTURE, str(repo)],
        env=kept | settings | {"PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "drawn"
