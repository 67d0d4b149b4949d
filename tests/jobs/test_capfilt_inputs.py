"""What CapFilt reads: every layout, and rows with something wrong; and what its models may give."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from capfilt_jobs import Fixed, Rule, Writer, picture, rows_of, shard
from torch import Tensor

from vlcourse.data.shards import png, write_shard
from vlcourse.data.sources import open_source
from vlcourse.data.sources.decode import SourceError
from vlcourse.data.world.web import corrupt_name
from vlcourse.jobs import JobError
from vlcourse.jobs.capfilt import read_kept, run
from vlcourse.jobs.parts import Settings


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
