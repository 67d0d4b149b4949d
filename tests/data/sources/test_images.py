"""Sources from disk and hub to the one sample dict, and what happens to what cannot be read."""

from __future__ import annotations

import io
import json
import socket
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vlcourse.data.sources.decode import BadSampleError, decode
from vlcourse.data.sources.images import MapSource, SourceError, StreamSource, open_source

CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache of the test's own, and a failure for any attempt to look up a host."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail(f"network access: {args}")

    monkeypatch.setenv("VLCOURSE_DATA", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def png(value: int = 0, size: tuple[int, int] = (8, 6), kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (value % 256, 20, 30)).save(stream, kind)
    return stream.getvalue()


def parquet(path: Path, columns: dict[str, list[Any]], rows_per_group: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    return path


def captioned(path: Path, count: int, bad: dict[int, bytes] | None = None) -> Path:
    pictures = [{"bytes": (bad or {}).get(i, png(i)), "path": None} for i in range(count)]
    return parquet(path, {"image": pictures, "text": [f"caption {i}" for i in range(count)]})


def folder(path: Path, rows: list[dict[str, Any]], name: str = "metadata.jsonl") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    for i, row in enumerate(rows):
        (path / row["file_name"]).write_bytes(png(i))
    return path


def ids(dataset: MapSource | StreamSource) -> list[str]:
    if isinstance(dataset, MapSource):
        return [dataset[i]["id"] for i in range(len(dataset))]
    return [sample["id"] for sample in dataset]


# ---------------------------------------------------------------- real photos


def test_cifar_loads_in_seconds(shared_data: Path) -> None:
    start = time.process_time()
    train = open_source(shared_data / "cifar10" / "train.parquet")
    assert time.process_time() - start < 30  # about 2 s on one idle core
    assert isinstance(train, MapSource)
    assert len(train) == 10_000
    assert list(train.classes) == CIFAR
    sample = train[7]
    assert set(sample) == {"id", "image", "caption", "label"}
    assert sample["image"].dtype == torch.uint8
    assert sample["image"].shape == (3, 32, 32)
    assert sample["caption"] == f"a photo of a {CIFAR[sample['label']]}."

    batch = list(range(0, 10_000, 79))[:128]
    start = time.process_time()
    samples = train.__getitems__(batch)
    assert time.process_time() - start < 0.1  # about 0.4 ms: the pictures are held decoded
    assert [s["id"] for s in samples] == [train[i]["id"] for i in batch]
    # A photo decoded by hand is the same photo, upright and with its channels first.
    raw = pq.read_table(shared_data / "cifar10" / "train.parquet").slice(79, 1).to_pylist()[0]
    expected = np.asarray(Image.open(io.BytesIO(raw["image"]["bytes"])).convert("RGB"))
    assert np.array_equal(samples[1]["image"].permute(1, 2, 0).numpy(), expected)
    assert samples[1]["label"] == raw["label"]


def test_cifar_streams_the_same_samples(shared_data: Path) -> None:
    kept = open_source(shared_data / "cifar10", split="test", limit=300, verify=False)
    stream = open_source(shared_data / "cifar10", split="test", limit=300, streaming=True)
    assert isinstance(stream, StreamSource)
    assert stream.classes == kept.classes == tuple(CIFAR)
    streamed = list(stream)
    assert len(streamed) == len(kept) == 300
    for a, b in zip(streamed, kept, strict=True):
        assert torch.equal(a.pop("image"), b.pop("image"))
        assert a == b


def test_cifar_folder_needs_a_split(shared_data: Path) -> None:
    with pytest.raises(SourceError, match=r"several splits \(test, train\)"):
        open_source(shared_data / "cifar10")
    with pytest.raises(SourceError, match="Did you mean 'test'"):
        open_source(shared_data / "cifar10", split="tst")


# ---------------------------------------------------------------- captions and labels


def test_labels_get_names_from_the_argument_and_templates_by_index(tmp_path: Path) -> None:
    columns = {"img": [png(i) for i in range(4)], "label": [0, 1, 1, 0]}
    path = parquet(tmp_path / "set.parquet", columns)
    with pytest.raises(SourceError, match="classes="):
        open_source(path)
    data = open_source(path, classes=["cat", "sea_lion"], template=["a {}", "the {}"])
    assert data.classes == ("cat", "sea_lion")
    assert [s["caption"] for s in data] == ["a cat", "the sea lion", "a sea lion", "the cat"]
    assert [s["label"] for s in data] == [0, 1, 1, 0]
    with pytest.raises(SourceError, match="template"):
        open_source(path, classes=["cat", "dog"], template="a photo")


def test_label_names_in_text(tmp_path: Path) -> None:
    columns = {"image": [png(i) for i in range(3)], "category": ["dog", "cat", "dog"]}
    data = open_source(parquet(tmp_path / "set.parquet", columns))
    assert data.classes == ("cat", "dog")
    assert [s["label"] for s in data] == [1, 0, 1]


def test_captions_win_over_labels_unless_the_label_is_named(tmp_path: Path) -> None:
    columns = {"image": [png()], "caption": [" red "], "label": [0], "id": ["k7"]}
    path = parquet(tmp_path / "set.parquet", columns)
    assert "label" not in open_source(path)[0]  # a number that nobody can name
    data = open_source(path, classes=["cat"])
    assert (data[0]["caption"], data[0]["label"], data[0]["id"]) == ("red", 0, "k7")
    assert open_source(path, classes=["cat"], label="label")[0]["caption"] == "a photo of a cat."


def test_several_captions_of_one_picture(tmp_path: Path) -> None:
    columns = {"image": [png(), png(), png()], "captions": [["a", "b"], ["c", "d"], ["e", " "]]}
    data = open_source(parquet(tmp_path / "set.parquet", columns))
    assert [s["caption"] for s in data] == ["a", "d", "e"]
    assert data[1]["captions"] == ["c", "d"]


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": -1}, {"shuffle": -1, "streaming": True}, {"max_bad": np.nan}]
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="limit is at least 1, shuffle at least 0, and max_bad"):
        open_source(captioned(tmp_path / "set.parquet", 2), **wrong)


def test_wrong_column_names_the_nearest(tmp_path: Path) -> None:
    path = captioned(tmp_path / "set.parquet", 2)
    with pytest.raises(
        SourceError, match=r"'txet'; its columns are: image, text\. Did you mean 't"
    ):
        open_source(path, caption="txet")
    other = parquet(tmp_path / "other.parquet", {"pixels": [png()], "words": ["x"]})
    with pytest.raises(SourceError, match="no image column.*pixels, words"):
        open_source(other)
    with pytest.raises(SourceError, match="no caption or label column.*pixels, words"):
        open_source(other, image="pixels")
    assert open_source(other, image="pixels", caption="words")[0]["caption"] == "x"


# ---------------------------------------------------------------- folders, globs, shards


def test_image_folder_with_jsonl_csv_and_a_named_file(tmp_path: Path) -> None:
    rows = [{"file_name": f"{i}.png", "text": f"première {i}"} for i in range(3)]
    path = folder(tmp_path / "photos", rows)
    data = open_source(path)
    assert ids(data) == ["0.png", "1.png", "2.png"]
    assert [s["caption"] for s in data] == ["première 0", "première 1", "première 2"]
    assert data[2]["image"][0, 0, 0] == 2
    (path / "mine.csv").write_text("image,caption\n1.png,one\n1.png,again\n", encoding="utf-8-sig")
    for other in (open_source(path, captions="mine.csv"), open_source(path / "mine.csv")):
        assert [(s["id"], s["caption"]) for s in other] == [("1.png", "one"), ("1.png#1", "again")]
    assert [s["caption"] for s in open_source(path, streaming=True)] == [s["caption"] for s in data]
    (path / "labels.csv").write_text("file,label\n1.png,1\n0.png,0\n")
    labelled = open_source(path / "labels.csv", classes=["cat", "dog"])
    assert [s["label"] for s in labelled] == [1, 0]
    with pytest.raises(SourceError, match="Did you mean 'mine.csv'"):
        open_source(path, captions="mien.csv")


def test_image_folder_splits_and_broken_lines(tmp_path: Path) -> None:
    folder(tmp_path / "photos" / "train", [{"file_name": "a.png", "text": "a"}], "captions.jsonl")
    assert open_source(tmp_path / "photos", split="train")[0]["caption"] == "a"
    assert open_source(tmp_path / "photos")[0]["caption"] == "a"  # there is one split only
    (tmp_path / "photos" / "bad.jsonl").write_text('{"file_name": "a.png"}\n{"file_name": \n')
    with pytest.raises(SourceError, match="bad.jsonl, line 2 is not valid JSON"):
        open_source(tmp_path / "photos" / "bad.jsonl")


def test_glob_and_folder_of_shards(tmp_path: Path) -> None:
    for shard in range(3):
        captioned(tmp_path / "set" / f"train-{shard:05d}-of-00003.parquet", 4)
    captioned(tmp_path / "set" / "val-00000-of-00001.parquet", 2)
    train = open_source(tmp_path / "set", split="train")
    assert len(train) == 12
    assert len(open_source(tmp_path / "set", split="validation")) == 2
    assert len(open_source(str(tmp_path / "set" / "train-*.parquet"))) == 12
    with pytest.raises(SourceError, match="no file matches"):
        open_source(str(tmp_path / "set" / "tset-*.parquet"))
    stream = open_source(tmp_path / "set", split="train", streaming=True)
    assert ids(stream) == ids(train)


def test_shards_must_agree_and_be_whole(tmp_path: Path) -> None:
    captioned(tmp_path / "set" / "a.parquet", 4)
    other = parquet(tmp_path / "set" / "b.parquet", {"image": [png()], "caption": ["x"]})
    with pytest.raises(SourceError, match="b.parquet has the columns image, caption, but .*a.par"):
        open_source(tmp_path / "set")
    whole = captioned(other, 400).read_bytes()
    for cut in (whole[: len(whole) // 2], whole[:2000] + b"\xff" * 2000 + whole[4000:]):
        other.write_bytes(cut)
        with pytest.raises(SourceError, match="cannot read .*b.parquet: it is truncated"):
            open_source(tmp_path / "set")


# ---------------------------------------------------------------- what a source is


@pytest.mark.parametrize(
    "name",
    ["./data/foo.parquet", "data/foo.parquet", "owner/foo.csv", "/no/such", "a/b/c", "~/zz-x"],
)
def test_a_mistyped_path_is_a_missing_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *a, **k: pytest.fail("asked"))
    with pytest.raises(SourceError, match="there is no file or folder"):
        open_source(name)


def test_a_path_under_an_existing_folder_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    captioned(tmp_path / "data" / "birds.parquet", 1)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *a, **k: pytest.fail("asked"))
    with pytest.raises(SourceError, match=r"Did you mean 'birds.parquet'\?"):
        open_source("data/birds")
    with pytest.raises(SourceError, match="owner/name"):
        open_source("birds")


def test_hub_id_without_network_is_one_sentence_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    start = time.perf_counter()
    with pytest.raises(SourceError, match="cannot reach the hub for the dataset 'owner/name'") as e:
        open_source("owner/name", split="train")
    assert time.perf_counter() - start < 5
    assert "\n" not in str(e.value)


def test_hub_id_gives_the_same_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    rows = datasets.Dataset.from_dict({"image": [png(1), png(2)], "caption": ["one", "two"]})
    rows = rows.cast_column("image", datasets.Image())
    asked: list[dict[str, Any]] = []

    def load(hub_id: str, **options: Any) -> Any:
        asked.append({"hub_id": hub_id, **options})
        return rows.to_iterable_dataset() if options["streaming"] else rows

    splits = ["train"]
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *a, **k: None)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *a, **k: splits)
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    data = open_source("hf://owner/name")
    assert [s["caption"] for s in data] == ["one", "two"]
    assert [s["id"] for s in open_source("other/name", streaming=True)] == ids(data)
    assert asked[0] == {"hub_id": "owner/name", "split": "train", "streaming": False} | {
        "revision": None
    }
    splits.append("test")
    with pytest.raises(SourceError, match="splits train, test"):
        open_source("other/name")


# ---------------------------------------------------------------- bad samples

BROKEN = png(size=(64, 64), kind="JPEG")[:-60]


def mixed(path: Path, count: int = 100) -> Path:
    """Rows 3 (truncated), 4 (no image), 50 (empty caption) and 99 (missing file) are bad."""
    pictures: list[dict[str, Any]] = [{"bytes": png(i), "path": None} for i in range(count)]
    pictures[3]["bytes"] = BROKEN
    pictures[4]["bytes"] = None
    pictures[99] = {"bytes": None, "path": "gone.png"}
    texts = [f"caption {i}" for i in range(count)]
    texts[50] = "  "
    return parquet(path, {"image": pictures, "text": texts})


def check_report(text: str) -> None:
    assert "skipped 4 of 100 samples (4.0%)" in text
    for part in ("1 no image", "1 missing image file", "1 corrupt image", "1 empty caption"):
        assert part in text
    assert "set-000003 (corrupt image" in text


def test_verified_source_leaves_bad_samples_out(tmp_path: Path) -> None:
    path = mixed(tmp_path / "set.parquet")
    for cache in (None, False):
        with pytest.warns(UserWarning, match="skipped 4 of 100"):
            data = open_source(path, cache_images=cache)
        assert len(data) == 96
        assert [data[i]["caption"] for i in (2, 3, 95)] == ["caption 2", "caption 5", "caption 98"]
        assert data[-1]["id"] == "set-000098"
        assert data[3]["image"][0, 0, 0] == 5
        check_report(data.report())
        with pytest.raises(IndexError):
            data[96]


def test_unverified_source_puts_the_next_good_sample(tmp_path: Path) -> None:
    path = mixed(tmp_path / "set.parquet")
    with pytest.warns(UserWarning, match="next good one"):
        data = open_source(path, verify=False)
        found = [s["caption"] for s in data.__getitems__([99, 3, 50, 4, 0])]
    assert found == [f"caption {i}" for i in (0, 5, 51, 5, 0)]
    assert len(data) == 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(100):
            data[i]
        again = open_source(path, verify=False)  # another order of reading, the same samples
        assert [again[i]["caption"] for i in (4, 0, 99, 3, 50)] == [
            found[i] for i in (3, 4, 0, 1, 2)
        ]
    check_report(data.report())


@pytest.mark.filterwarnings("ignore")
def test_workers_write_to_one_account(tmp_path: Path) -> None:
    data = open_source(mixed(tmp_path / "set.parquet"), verify=False)
    loader = DataLoader(data, batch_size=10, num_workers=2, collate_fn=list)
    assert sum(len(batch) for batch in loader) == 100
    check_report(data.report())


def test_stream_leaves_out_and_reports_at_its_end(tmp_path: Path) -> None:
    stream = open_source(mixed(tmp_path / "set.parquet"), streaming=True)
    for _ in range(2):  # a second pass counts from zero
        with pytest.warns(UserWarning, match="skipped 4 of 100"):
            assert len(ids(stream)) == 96
        check_report(stream.report())


@pytest.mark.parametrize("way", ["verified", "unverified", "stream"])
@pytest.mark.filterwarnings("ignore:.*skipped")
def test_too_many_bad_samples_are_an_error(tmp_path: Path, way: str) -> None:
    path = captioned(tmp_path / "set.parquet", 100, {i: b"not a picture" for i in range(40, 46)})
    with pytest.raises(SourceError, match=r"skipped 6 of 100 .*6 corrupt image.*set-000040"):
        for _ in open_source(path, verify=way == "verified", streaming=way == "stream"):
            pass


@pytest.mark.filterwarnings("ignore:.*skipped")
def test_max_bad_can_be_raised(tmp_path: Path) -> None:
    path = captioned(tmp_path / "set.parquet", 10, {i: b"x" for i in range(5)})
    assert len(open_source(path, max_bad=0.5)) == 5


def test_labels_out_of_range_are_counted(tmp_path: Path) -> None:
    columns = {"image": [png(i) for i in range(40)], "label": [0] * 39 + [2]}
    path = parquet(tmp_path / "set.parquet", columns)
    with pytest.warns(UserWarning, match="1 bad label.*2 of 2 classes"):
        assert len(open_source(path, classes=["cat", "dog"])) == 39


def test_web_addresses_are_not_fetched(tmp_path: Path) -> None:
    columns = {"image": ["https://example.org/a.png"], "text": ["a"]}
    with pytest.raises(SourceError, match="web address"):
        open_source(parquet(tmp_path / "set.parquet", columns))


def test_empty_source(tmp_path: Path) -> None:
    path = parquet(tmp_path / "set.parquet", {"image": pa.array([], pa.binary()), "text": []})
    with pytest.raises(SourceError, match="no rows"):
        open_source(path, caption="text")


# ---------------------------------------------------------------- pictures and caches


def test_every_mode_becomes_upright_rgb(tmp_path: Path) -> None:
    def stored(picture: Image.Image, kind: str, **options: Any) -> torch.Tensor:
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        return decode(stream.getvalue())

    red = Image.new("RGB", (4, 2), (255, 0, 0))
    assert stored(red, "PNG")[:, 0, 0].tolist() == [255, 0, 0]
    assert stored(Image.new("L", (4, 2), 90), "PNG")[:, 0, 0].tolist() == [90] * 3
    assert stored(red.quantize(4), "PNG")[:, 1, 3].tolist() == [255, 0, 0]
    cyan = stored(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG")[:, 8, 8].tolist()
    assert cyan[0] < 30 and cyan[1] > 150 and cyan[2] > 180
    clear = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    assert stored(clear, "PNG")[:, 0, 0].tolist() == [255] * 3
    assert stored(Image.new("LA", (4, 2), (0, 0)), "PNG")[:, 0, 0].tolist() == [255] * 3
    deep = Image.fromarray(np.full((2, 4), 0x8000, dtype=np.uint16))
    assert stored(deep, "PNG")[:, 0, 0].tolist() == [128] * 3
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    assert stored(red, "JPEG", exif=turned).shape == (3, 4, 2)
    assert stored(red, "JPEG").shape == (3, 2, 4)
    with pytest.raises(BadSampleError, match="no image"):
        decode({"bytes": None, "path": None})


def test_cached_pictures_cannot_be_spoilt(tmp_path: Path) -> None:
    data = open_source(captioned(tmp_path / "set.parquet", 5))
    data[1]["image"].zero_()
    assert data[1]["image"][0, 0, 0] == 1


def test_cache_needs_one_size(tmp_path: Path) -> None:
    columns = {"image": [png(size=(8, 8)), png(size=(9, 8))], "text": ["a", "b"]}
    path = parquet(tmp_path / "set.parquet", columns)
    assert [tuple(s["image"].shape) for s in open_source(path)] == [(3, 8, 8), (3, 8, 9)]
    with pytest.raises(SourceError, match="one size"):
        open_source(path, cache_images=True)
    with pytest.raises(SourceError, match="streaming=False"):
        open_source(path, cache_images=True, streaming=True)


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    path = captioned(tmp_path / "set.parquet", 3)
    assert len(open_source(path)) == 3
    captioned(path, 4)
    assert len(open_source(path)) == 4


# ---------------------------------------------------------------- streams


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("shards", [1, 3])
def test_stream_workers_share_the_samples(tmp_path: Path, workers: int, shards: int) -> None:
    for shard in range(shards):
        captioned(tmp_path / "set" / f"{shard}.parquet", 20)
    stream = open_source(tmp_path / "set", streaming=True)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    found = [sample["id"] for sample in loader]
    assert sorted(found) == sorted(ids(open_source(tmp_path / "set")))
    limited = open_source(tmp_path / "set", streaming=True, limit=25)
    loader = DataLoader(limited, batch_size=None, num_workers=workers)
    assert len([sample["id"] for sample in loader]) == min(25, 20 * shards)


def test_stream_shuffle_depends_on_seed_and_epoch_only(tmp_path: Path) -> None:
    for shard in range(3):
        captioned(tmp_path / "set" / f"{shard}.parquet", 20)
    path = tmp_path / "set"
    stream = open_source(path, streaming=True, shuffle=16, seed=1)
    first = ids(stream)
    assert first == ids(stream) == ids(open_source(path, streaming=True, shuffle=16, seed=1))
    assert first != sorted(first) and len(set(first)) == 60
    stream.set_epoch(1)
    assert ids(stream) != first and sorted(ids(stream)) == sorted(first)
    with pytest.raises(SourceError, match="streaming=True"):
        open_source(path, shuffle=16)
