"""CapFilt as a job: every layout in, the right rows out, however often it was killed."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import capfilt_jobs as fakes
import forked
import pytest
import torch
from capfilt_jobs import Fixed, Rule, Writer, rows_of

from vlcourse.data.sources.decode import decode
from vlcourse.data.world.web import WebWorld
from vlcourse.jobs import JobError
from vlcourse.jobs.capfilt import read_kept, run
from vlcourse.jobs.parts import Settings, left_over

ROWS = 40


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 toy pictures with noisy texts, in shards of 15."""
    folder = tmp_path_factory.mktemp("data") / "noisy"
    WebWorld(n=ROWS, rate=0.6).write(folder, rows=15)
    return folder


@pytest.fixture(scope="module")
def whole(noisy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    fakes.job(noisy, out)
    return out


def same(one: Path, other: Path) -> None:
    """The same files with the same rows, and the same report but for its clock."""
    files = [sorted(p.relative_to(o) for p in o.rglob("*") if p.is_file()) for o in (one, other)]
    assert files[0] == files[1]
    for file in files[0]:
        if file.suffix == ".parquet":
            assert (one / file).read_bytes() == (other / file).read_bytes(), file
    reports = [json.loads((out / "report.json").read_text()) for out in (one, other)]
    for made in reports:
        del made["seconds"], made["rows_per_s"]
    assert reports[0] == reports[1]


def test_each_row_gives_its_two_texts_judged_and_with_the_truth(noisy: Path, whole: Path) -> None:
    rows, samples = rows_of(whole), WebWorld(n=ROWS, rate=0.6).__getitems__(range(ROWS))
    assert len({row["id"] for row in rows}) == len(rows) == 2 * ROWS
    for number, sample in enumerate(samples):
        synthetic, web = rows[2 * number], rows[2 * number + 1]
        assert (synthetic["id"], web["id"]) == (f"{number:09d}-synthetic", f"{number:09d}-web")
        assert web["text"] == sample["caption"] and web["kind"] == sample["kind"]
        assert web["is_clean"] == sample["is_clean"] and web["clean"] == sample["clean"]
        assert synthetic["text"].startswith("mean ") and synthetic["clean"] == sample["clean"]
        assert synthetic["kind"] is None and synthetic["is_clean"] is None
        score = Rule().score([sample["image"]], [web["text"]])
        assert web["score"] == score and web["kept"] == bool(score > 0.5)
        for row in (web, synthetic):
            assert row["source_id"] == sample["id"]
            assert torch.equal(decode(row["image"]), sample["image"])
    assert all(row["kept"] for row in rows_of(whole, "kept"))
    assert not any(row["kept"] for row in rows_of(whole, "dropped"))


def test_the_report_counts_what_the_files_hold_and_shows_pictures(whole: Path) -> None:
    made, rows = json.loads((whole / "report.json").read_text()), rows_of(whole)
    web = [row for row in rows if row["origin"] == "web"]
    kept = [row for row in web if row["kept"]]
    assert made["rows"] == ROWS and made["account"] == {}
    assert made["texts"]["synthetic"] == {"kept": ROWS, "dropped": 0}
    assert made["texts"]["web"] == {"kept": len(kept), "dropped": ROWS - len(kept)}
    assert sum(sum(count.values()) for count in made["kinds"].values()) == ROWS
    right = sum(row["is_clean"] for row in kept)
    assert made["filter"]["precision"] == right / len(kept)
    assert made["filter"]["recall"] == right / sum(row["is_clean"] for row in web)
    page = (whole / "report.html").read_text()
    assert page.count("data:image/png;base64,") > 10 and "mean " in page and "half" in page


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_with_the_same_files(
    noisy: Path, whole: Path, tmp_path: Path
) -> None:
    counting = forked.start(fakes.job_and_die, noisy, tmp_path / "counted", 0)
    counting.join(60)
    same(tmp_path / "counted", whole)
    events, out = int((tmp_path / "counted.count").read_text()), tmp_path / "killed"
    draw, moments = random.Random(13), 0
    while moments < 10:
        # Early in what is left, so that ten kills fit into one job.
        process = forked.start(fakes.job_and_die, noisy, out, draw.randint(1, events // 5))
        process.join(60)
        if process.exitcode == 0:  # whole before the tenth: begin again elsewhere
            same(out, whole)
            out = tmp_path / f"killed-{moments}"
            continue
        assert process.exitcode == -signal.SIGKILL
        moments += 1
    fakes.job(noisy, out)
    for left in out.glob(".tmp-*"):  # of the settings or the report
        left.unlink()
    same(out, whole)


def test_two_processes_and_other_batches_give_the_same_rows(
    noisy: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "two"
    assert run(noisy, out, Writer(), Rule(), fakes.SETTINGS, rank=1, world=2) is None
    assert left_over(out, 6) == [0, 2, 4]
    made = run(noisy, out, Writer(), Rule(), fakes.SETTINGS, rank=0, world=2, batch_size=5)
    assert made is not None
    same(out, whole)


def running(pid: str) -> bool:
    """Whether a process is at work; one that has ended and waits to be asked is not."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux about processes")
def test_when_the_job_is_killed_its_processes_end_and_it_goes_on(
    noisy: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "pids").mkdir()
    job = forked.start(fakes.many, noisy, tmp_path / "out", tmp_path / "pids")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/done/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    job.kill()
    job.join()
    pids = [path.name for path in (tmp_path / "pids").iterdir()]
    while any(map(running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2 and not any(map(running, pids))
    assert left_over(tmp_path / "out", 6), "it was killed too late"
    fakes.job(noisy, tmp_path / "out")
    same(tmp_path / "out", whole)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"threshold": 0.7}, "threshold=0.5"), ({"seed": 6}, "seed=5"), ({"limit": 9}, "rows=40")],
)
def test_another_job_is_refused_in_its_folder(
    noisy: Path, whole: Path, change: dict[str, Any], said: str
) -> None:
    settings = Settings(**({"part_rows": 7, "seed": 5} | change))
    with pytest.raises(JobError, match=said):
        run(noisy, whole, Writer(), Rule(), settings)


def test_a_job_that_has_done_nothing_may_be_changed(noisy: Path, tmp_path: Path) -> None:
    settings = Settings(captioner="misspelt", part_rows=7)
    run(noisy, tmp_path / "out", Writer(), Rule(), settings, seen=lambda _: False)
    (tmp_path / "out" / "kept").mkdir()
    (tmp_path / "out" / "kept" / "part-000000.parquet").write_bytes(b"of the misspelt one")
    made = run(noisy, tmp_path / "out", Writer(), Fixed(*[0.0] * 32), Settings())
    assert made is not None and not list((tmp_path / "out").glob("kept/*"))


def test_bad_folders_are_refused_and_not_touched(noisy: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(JobError, match=r"thesis\.txt"):
        fakes.job(noisy, tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]
    with pytest.raises(JobError, match="inside of"):
        fakes.job(noisy, noisy / "out")
    with pytest.raises(JobError, match="is a file"):
        fakes.job(noisy, tmp_path / "other" / "thesis.txt")


def test_a_second_round_reads_what_the_first_one_kept(whole: Path, tmp_path: Path) -> None:
    fakes.job(whole, tmp_path / "second")
    first, second = rows_of(whole, "kept"), rows_of(tmp_path / "second")
    assert len(second) == 2 * len(first) == len({row["id"] for row in second})
    old = [row for row in second if not row["id"].endswith("-2") and row["kind"] is None]
    assert {row["text"] for row in first if row["origin"] == "synthetic"} <= {
        r["text"] for r in old
    }
    origins = {row["text"]: row["origin"] for row in first}
    by_id = {row["id"]: row for row in first}
    for row in second:
        before = by_id[row["source_id"]]
        if row["text"] == before["text"]:
            assert row["origin"] == origins[row["text"]] and row["score"] == before["score"]


def test_what_was_kept_trains_and_what_is_unfinished_does_not(whole: Path, tmp_path: Path) -> None:
    kept = read_kept(whole)
    assert len(kept) == len(rows_of(whole, "kept")) and kept.classes == ()
    texts = {row["id"]: row["text"] for row in rows_of(whole, "kept")}
    assert {sample["id"]: sample["caption"] for sample in kept} == texts
    assert {len(kept[i]["image_id"]) for i in range(3)} == {16}  # the same picture, the same id
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "capfilt.json").write_text((whole / "capfilt.json").read_text())
    with pytest.raises(JobError, match="not finished"):
        read_kept(tmp_path / "half")
    with pytest.raises(JobError, match="not finished"):
        fakes.job(tmp_path / "half", tmp_path / "out")
