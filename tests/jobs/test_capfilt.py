"""CapFilt as a job: every layout in, the right rows out, however often it was killed."""

from __future__ import annotations

import io
import json
import random
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import capfilt_jobs as fakes
import forked
import pyarrow.parquet
import pytest
import torch
from capfilt_jobs import Rule, Writer
from PIL import Image
from torch import Tensor

from vlcourse.data.shards import png, write_shard
from vlcourse.data.sources.decode import SourceError, decode
from vlcourse.data.world.web import WebWorld, corrupt_name
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


def rows_of(out: Path, folder: str = "*") -> list[dict[str, Any]]:
    files = sorted(out.glob(f"{folder}/part-*.parquet"))
    rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    return sorted(rows, key=lambda row: row["id"])


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


class Fixed:
    """Gives what it is told to."""

    def __init__(self, *scores: float, text: str = "said") -> None:
        self.scores, self.text = scores, text
        self.seen: list[str] = []

    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        return [self.text for _ in pictures]

    def score(self, pictures: list[Tensor], texts: list[str]) -> Tensor:
        self.seen += texts
        return torch.tensor(self.scores[: len(texts)])


def picture(value: int, kind: str = "png", size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size + 4), (value, 10, 20)).save(file, kind)
    return file.getvalue()


def shard(folder: Path, rows: list[tuple[bytes | None, str | None]]) -> Path:
    made = [
        {"image": {"bytes": data, "path": None}, "caption": text, "n": i}
        for i, (data, text) in enumerate(rows)
    ]
    write_shard(folder / "a.parquet", made)
    return folder


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_a_score_that_equals_the_threshold_is_dropped(tmp_path: Path, threshold: float) -> None:
    source = shard(tmp_path / "in", [(picture(1), "a text")])
    more = float(torch.nextafter(torch.tensor(threshold), torch.tensor(1.0)))
    settings = Settings(threshold=threshold)
    run(source, tmp_path / "out", Fixed(), Fixed(threshold, more), settings)
    assert {row["text"]: row["kept"] for row in rows_of(tmp_path / "out")} == {
        "a text": False,
        "said": True,
    }


def test_broken_pictures_are_left_out_and_empty_texts_do_without(tmp_path: Path) -> None:
    long = "word " * 5000
    rows = [(picture(1), "one"), (b"no picture", "two"), (picture(3), "  "), (picture(4), long)]
    source = shard(tmp_path / "in", [*rows, (None, "five"), (picture(6), None)])
    judge = Fixed(*[1.0] * 12)
    made = run(source, tmp_path / "out", Fixed(), judge, Settings(max_bad=0.5))
    assert made is not None
    assert made["account"] == {"corrupt image": 1, "empty caption": 2, "no image": 1}
    found = [(row["n"], row["origin"], row["text"]) for row in rows_of(tmp_path / "out")]
    said = [(n, "synthetic", "said") for n in (0, 2, 3, 5)]
    assert sorted(found) == sorted([*said, (0, "web", "one"), (3, "web", long.strip())])
    assert made["rows"] == 6 and made["texts"]["synthetic"]["kept"] == 4
    with pytest.raises(SourceError, match="1 corrupt image, 1 no image; more than 10%"):
        run(source, tmp_path / "strict", Fixed(), judge, Settings(max_bad=0.1, part_rows=2))
    assert (tmp_path / "strict" / "report.html").is_file()


def test_models_that_give_nonsense_are_refused(tmp_path: Path) -> None:
    source = shard(tmp_path / "in", [(picture(1), "one")])
    for wrong in (Fixed(float("nan"), 0.5), Fixed(0.5, 1.5), Fixed(0.5)):
        with pytest.raises(JobError, match="no probabilities"):
            run(source, tmp_path / "out", Fixed(), wrong)
    silent = run(source, tmp_path / "silent", Fixed(text=" "), Fixed(0.9))
    assert silent is not None and silent["texts"] == {"web": {"kept": 1, "dropped": 0}}


def test_tar_shards_as_laion_has_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        with tarfile.open(tmp_path / "in" / f"0000{number}.tar", "w") as archive:
            for row in range(3):
                key = f"{number:05d}{row:04d}"
                note = json.dumps({"caption": f"in json {key}", "width": 8, "similarity": 0.25})
                files = {"jpg": picture(10 * row, "jpeg"), "json": note.encode()}
                if row:
                    files["txt"] = f"text {key}".encode()
                for suffix, data in files.items():
                    info = tarfile.TarInfo(f"{key}.{suffix}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    run(tmp_path / "in", tmp_path / "out", Writer(), Rule(), Settings(part_rows=2))
    web = [row for row in rows_of(tmp_path / "out") if row["origin"] == "web"]
    keys = [f"{n:05d}{row:04d}" for n in range(2) for row in range(3)]
    assert [row["source_id"] for row in web] == keys
    assert [row["text"] for row in web] == [
        f"{'text' if int(key[-1]) else 'in json'} {key}" for key in keys
    ]
    assert {(row["width"], row["similarity"]) for row in web} == {(8, 0.25)}
    assert web[4]["image"]["bytes"] == picture(10, "jpeg")  # as it was, not compressed again
    one = run(str(tmp_path / "in" / "*1.tar"), tmp_path / "one", Writer(), Rule())
    assert one is not None and one["rows"] == 3
    (tmp_path / "bad.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(SourceError, match=r"bad\.tar"):
        run(tmp_path / "bad.tar", tmp_path / "no", Writer(), Rule())


def test_pictures_beside_their_texts(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.jpg").write_bytes(picture(ord(name), "jpeg"))
        (folder / f"{name}.txt").write_text(f"this is {name}")
    run(folder, tmp_path / "out", Writer(), Rule())
    web = [row for row in rows_of(tmp_path / "out") if row["origin"] == "web"]
    assert [(row["source_id"], row["text"]) for row in web] == [
        ("a.jpg", "this is a"),
        ("b.jpg", "this is b"),
    ]
    assert web[0]["image"]["bytes"] == picture(ord("a"), "jpeg")


def test_photos_with_corrupted_template_captions(shared_data: Path, tmp_path: Path) -> None:
    """End to end on real photos, with a filter that knows the truth of what it can read."""
    if not (shared_data / "cifar10" / "test.parquet").is_file():
        pytest.skip(f"there is no cifar10 in {shared_data}")
    from vlcourse.data.sources import open_source

    photos: Any = open_source(shared_data / "cifar10", split="test", limit=120)
    templates, rows = ("a photo of a {}.", "a picture of a {}."), []
    for number in range(120):
        name = photos.classes[photos[number]["label"]]
        said = corrupt_name(name, photos.classes, templates, number, rate=0.5)
        image = {"bytes": png(photos[number]["image"]), "path": None}
        row = {"id": f"photo {number}", "image": image, "caption": str(said), "clean": said.clean}
        rows.append({**row, "kind": said.kind, "is_clean": said.is_clean})
    write_shard(tmp_path / "in" / "photos.parquet", rows)

    class Reader:
        """Knows the class of a photo by its pixels: these are the photos it was made from."""

        names = {
            photos[n]["image"].numpy().tobytes(): rows[n]["clean"].split()[-1] for n in range(120)
        }

        def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
            return [f"there is a {self.names[p.numpy().tobytes()]}" for p in pictures]

        def score(self, pictures: list[Tensor], texts: list[str]) -> Tensor:
            pairs = zip(pictures, texts, strict=True)
            return torch.tensor([float(self.names[p.numpy().tobytes()] in t) for p, t in pairs])

    made = run(tmp_path / "in", tmp_path / "out", Reader(), Reader(), Settings(part_rows=50))
    assert made is not None and made["filter"] == {"precision": 1.0, "recall": 1.0}
    dropped = {kind for kind, count in made["kinds"].items() if not count["kept"]}
    assert dropped == {"file name", "camera", "unrelated", "wrong word"}
    kept = read_kept(tmp_path / "out")
    assert len(kept) == 120 + made["kinds"]["clean"]["kept"]
