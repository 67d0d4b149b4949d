"""What people have on disk becomes samples: layouts of folders, tables, splits, names of paths."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vlcourse.data.sources import SourceError, open_source
from vlcourse.data.sources.splits import shared_out, split_of
from vlcourse.data.sources.text_files import find_texts


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("VLCOURSE_DATA", str(tmp_path_factory.mktemp("data")))


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (value % 256, 20, 30)).save(path)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def captions(source: Any) -> list[str]:
    return [source[i]["caption"] for i in range(len(source))]


def red(source: Any) -> list[int]:
    return [int(source[i]["image"][0, 0, 0]) for i in range(len(source))]


# ---------------------------------------------------------------- layouts


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for i, name in enumerate(["dog/b.png", "cat/a.png", "dog/deep/c.png"]):
        picture(tmp_path / "pets" / name, i)
    data = open_source(tmp_path / "pets")
    assert data.classes == ("cat", "dog")
    assert [(s["id"], s["label"]) for s in data] == [
        ("cat/a.png", 0), ("dog/b.png", 1), ("dog/deep/c.png", 1)
    ]  # fmt: skip
    assert captions(data) == ["a photo of a cat.", "a photo of a dog.", "a photo of a dog."]
    assert red(data) == [1, 0, 2]
    stream = open_source(tmp_path / "pets", streaming=True)
    assert [s["id"] for s in stream] == [s["id"] for s in data]


def test_classes_below_splits_have_one_number_in_both(tmp_path: Path) -> None:
    for name in ("train/dog/1.png", "train/ant/2.png", "val/cat/3.png", "val/dog/4.jpg"):
        picture(tmp_path / "pets" / name)
    train, test = (open_source(tmp_path / "pets", split=split) for split in ("train", "test"))
    assert train.classes == test.classes == ("ant", "cat", "dog")
    assert [(s["id"], s["label"]) for s in train] == [
        ("train/ant/2.png", 0), ("train/dog/1.png", 2)
    ]  # fmt: skip
    assert [s["label"] for s in test] == [1, 2]
    with pytest.raises(SourceError, match=r"several splits \(train, validation\)"):
        open_source(tmp_path / "pets")


def test_a_text_beside_each_picture(tmp_path: Path) -> None:
    for i in range(30):
        picture(tmp_path / f"{i:02}.png", i)
        if i != 7:
            write(tmp_path / f"{i:02}.txt", f"text {i}\n")
    with pytest.warns(UserWarning, match="skipped 1 of 30 .*empty caption"):
        data = open_source(tmp_path)
    assert captions(data) == [f"text {i}" for i in range(30) if i != 7]
    assert red(data) == [i for i in range(30) if i != 7]


COCO = {
    "images": [{"id": i, "file_name": f"COCO_val_{i}.jpg", "width": 6} for i in (5, 7, 9)],
    "annotations": [
        {"id": 1, "image_id": 7, "caption": "seven"},
        {"id": 2, "image_id": 5, "caption": "five"},
        {"id": 3, "image_id": 7, "caption": "seven again"},
    ],
}


@pytest.mark.parametrize("form", ["file", "folder"])
def test_cocos_captions(tmp_path: Path, form: str) -> None:
    for i in (5, 7, 9):
        picture(tmp_path / "coco" / "val2014" / f"COCO_val_{i}.jpg")
    picture(tmp_path / "coco" / "train2014" / "COCO_train_1.jpg")
    notes = tmp_path / "coco" / "annotations"
    write(notes / "captions_val2014.json", json.dumps(COCO))
    other = {"images": [{"id": 1, "file_name": "COCO_train_1.jpg"}]}
    other["annotations"] = [{"image_id": 1, "caption": "one"}]
    write(notes / "captions_train2014.json", json.dumps(other, indent=1))
    write(notes / "instances_val2014.json", json.dumps({**COCO, "annotations": [{"image_id": 5}]}))
    if form == "file":
        data = open_source(notes / "captions_val2014.json")
    else:
        data = open_source(tmp_path / "coco", split="test")
        assert captions(open_source(tmp_path / "coco", split="train", max_bad=0)) == ["one"]
    assert [(s["image_id"], s["caption"]) for s in data] == [
        ("7", "seven"), ("5", "five"), ("7", "seven again")
    ]  # fmt: skip
    assert len({s["id"] for s in data}) == 3 and data[0]["id"] == "COCO_val_7.jpg"
    with pytest.raises(SourceError, match="instances_val2014.json is not .* COCO's captions"):
        open_source(notes / "instances_val2014.json")


def test_karpathys_splits(tmp_path: Path) -> None:
    images = [
        {"filename": f"{i}.jpg", "split": split, "sentences": [{"raw": f"{i}a"}, {"raw": f"{i}b"}]}
        for i, split in enumerate(["train", "restval", "val", "test"])
    ]
    for i in range(4):
        picture(tmp_path / "Images" / f"{i}.jpg", i)
    path = write(tmp_path / "dataset_flickr8k.json", json.dumps({"images": images}))
    assert captions(open_source(path, split="train")) == ["0a", "0b", "1a", "1b"]
    assert captions(open_source(path, split="val")) == ["2a", "2b"]
    assert [s["image_id"] for s in open_source(path, split="test")] == ["3.jpg", "3.jpg"]


def test_llavas_conversations(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "1.jpg")
    rows = [
        {
            "id": "k1",
            "image": "1.jpg",
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is it?"},
                {"from": "gpt", "value": "A bird."},
                {"from": "human", "value": "Where?"},
                {"from": "gpt", "value": "Here."},
            ],
        }
    ]
    write(tmp_path / "llava_instruct_150k.json", json.dumps(rows, indent=1))
    for source in (tmp_path, tmp_path / "llava_instruct_150k.json"):
        (sample,) = open_source(source)
        assert (sample["id"], sample["caption"], sample["image_id"]) == ("k1", "A bird.", "1.jpg")


def test_the_shared_instructions(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "instruct" / "minigpt_caption_3k.sample200.json"
    if not file.is_file():
        pytest.skip(f"no instruction data at {file}")
    rows = json.loads(file.read_text("utf-8"))
    for row in rows:
        picture(tmp_path / "pics" / row["image"])
    path = write(tmp_path / "captions.json", file.read_text("utf-8"))
    data = open_source(path)
    assert captions(data) == [row["QA"][0]["a"].strip() for row in rows] and len(data) == 200


def test_captions_by_file_name(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1), picture(tmp_path / "b.png", 2)
    path = write(tmp_path / "captions.json", json.dumps({"a.png": "one", "b.png": ["two", "deux"]}))
    data = open_source(path)
    assert captions(data) == ["one", "two", "deux"] and red(data) == [1, 2, 2]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_numbered_shards(tmp_path: Path, suffix: str) -> None:
    for shard in range(12):
        rows = []
        for i in (2 * shard, 2 * shard + 1):
            picture(tmp_path / f"{i}.png", i)
            rows.append({"file_name": f"{i}.png", "caption": f"c{i}"})
        path = tmp_path / f"data-{shard:05}-of-00012.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif suffix == "csv":
            lines = ["file_name,caption", *(",".join(row.values()) for row in rows)]
            write(path, "\n".join(lines))
        else:
            write(path, "\n".join(map(json.dumps, rows)))
    for source in (tmp_path, str(tmp_path / f"data-*.{suffix}")):
        data = open_source(source)
        assert captions(data) == [f"c{i}" for i in range(24)] and red(data) == list(range(24))


def test_flickr8k_as_kaggle_has_it(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,picture {i} caption {n}" for i in range(20) for n in range(5)]
    for i in range(20):
        picture(tmp_path / "Images" / f"{i}.jpg", i)
    write(tmp_path / "captions.txt", "image,caption\n" + "\n".join(rows) + "\n")
    train, test = (open_source(tmp_path, split=split) for split in ("train", "test"))
    assert len(train) == 90 and len(test) == 10  # two pictures of twenty, with all their captions
    assert {s["image_id"] for s in test} == {"9.jpg", "19.jpg"}
    assert not {s["image_id"] for s in train} & {s["image_id"] for s in test}
    assert [s["caption"] for s in test if s["image_id"] == "9.jpg"] == [
        f"picture 9 caption {n}" for n in range(5)
    ]


# ---------------------------------------------------------------- splits


def rows_of(count: int) -> dict[str, list[Any]]:
    import io

    raw = []
    for i in range(count):
        stream = io.BytesIO()
        Image.new("RGB", (4, 4), (i, 0, 0)).save(stream, "PNG")
        raw.append(stream.getvalue())
    return {"image": raw, "caption": [f"c{i}" for i in range(count)]}


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "folder"])
def test_the_test_rows_are_never_trained_on(tmp_path: Path, form: str) -> None:
    if form == "parquet":
        source = tmp_path / "pairs.parquet"
        pq.write_table(pa.table(rows_of(45)), source)
    else:
        for i in range(45):
            picture(tmp_path / "set" / ("ab"[i % 2] if form == "folder" else "") / f"{i:02}.png", i)
        rows = [{"file_name": f"{i:02}.png", "caption": f"c{i}"} for i in range(45)]
        source = tmp_path / "set"
        if form == "csv":
            text = "file_name,caption\n" + "\n".join(",".join(row.values()) for row in rows)
            source = write(tmp_path / "set" / "pairs.csv", text)
        elif form == "jsonl":
            source = write(tmp_path / "set" / "pairs.jsonl", "\n".join(map(json.dumps, rows)))
    whole = open_source(source)
    train, test = (open_source(source, split=split) for split in ("train", "test"))
    assert (len(whole), len(train), len(test)) == (45, 41, 4)
    assert red(test) == [red(whole)[i] for i in (9, 19, 29, 39)]
    ids = [{s["id"] for s in part} for part in (whole, train, test)]
    assert ids[0] == ids[1] | ids[2] and not ids[1] & ids[2] and len(ids[0]) == 45
    again = open_source(source, split="validation")
    assert [s["id"] for s in again] == [s["id"] for s in test]
    if form == "parquet":
        with pytest.raises(SourceError, match="of a stream no part can be held out"):
            open_source(source, split="train", streaming=True)
        assert len(list(open_source(source, streaming=True))) == 45
    else:
        stream = open_source(source, split="train", streaming=True)
        assert [s["id"] for s in stream] == [s["id"] for s in train]


def test_one_picture_is_on_one_side(tmp_path: Path) -> None:
    columns = rows_of(30)
    order = [i for i in range(30) for _ in range(3)]
    random.Random(0).shuffle(order)
    columns = {name: [values[i] for i in order] for name, values in columns.items()}
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    train, test = (open_source(tmp_path / "pairs.parquet", split=s) for s in ("train", "test"))
    assert (len(train), len(test)) == (81, 9) and not set(red(train)) & set(red(test))
    assert len({s["image_id"] for s in test}) == 3


def test_too_few_to_hold_one_out(tmp_path: Path) -> None:
    pq.write_table(pa.table(rows_of(9)), tmp_path / "pairs.parquet")
    assert len(open_source(tmp_path / "pairs.parquet", split="train")) == 9
    with pytest.raises(SourceError, match="pairs is too small: of its pictures one in 10"):
        open_source(tmp_path / "pairs.parquet", split="test")


def test_a_source_that_is_for_the_test_is_not_trained_on(tmp_path: Path) -> None:
    pq.write_table(pa.table(rows_of(9)), tmp_path / "test.parquet")
    assert len(open_source(tmp_path / "test.parquet", split="validation")) == 9
    with pytest.raises(SourceError, match="has no split 'train', only test"):
        open_source(tmp_path / "test.parquet", split="train")


def test_pictures_are_counted_as_they_first_appear() -> None:
    pictures = [f"{i // 2}" for i in range(40)] + ["9", "19", "3"]
    held = shared_out(pictures, "test")
    assert held == [18, 19, 38, 39, 40, 41]
    assert sorted(held + shared_out(pictures, "train")) == list(range(43))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("captions_val2014.json", "validation"),
        ("train2017/1.png", "train"),
        ("test-00000-of-00001.parquet", "test"),
        ("test/train.csv", "train"),  # the nearest
        ("latest.csv", "train"),
    ],
)
def test_a_name_says_its_split(name: str, split: str) -> None:
    assert split_of(Path(name)) == split


# ---------------------------------------------------------------- labels


def test_numbers_as_labels_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    numbers = [str(i) for i in range(12)]
    lines = "\n".join(f"x.png,{i}" for i in reversed(numbers))
    data = open_source(write(tmp_path / "a.csv", "file,label\n" + lines))
    assert data.classes == tuple(numbers)
    assert [s["label"] for s in data] == list(range(11, -1, -1))
    data = open_source(write(tmp_path / "a.csv", "file,label\nx.png,10.0\nx.png,-1\nx.png,9.5"))
    assert data.classes == ("-1", "9.5", "10.0")


def test_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    image = {"image": [(tmp_path / "x.png").read_bytes()] * 2}
    for split, labels in (("train", ["dog", "ant"]), ("test", ["cat", "dog"])):
        folder = tmp_path / "parquet"
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({**image, "label": labels}), folder / f"{split}.parquet")
        lines = "\n".join(f"x.png,{label}" for label in labels)
        picture(tmp_path / "csv" / "x.png")
        write(tmp_path / "csv" / f"{split}.csv", f"file,label\n{lines}")
    for form in ("parquet", "csv"):
        train, test = (open_source(tmp_path / form, split=split) for split in ("train", "test"))
        assert train.classes == test.classes == ("ant", "cat", "dog")
        assert [s["label"] for s in train] == [2, 0] and [s["label"] for s in test] == [1, 2]


def test_classes_that_the_splits_number_differently(tmp_path: Path) -> None:
    import datasets

    picture(tmp_path / "x.png")
    raw = (tmp_path / "x.png").read_bytes()
    for split, names in (("train", ["dog", "ant"]), ("test", ["cat", "dog"])):
        kinds = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
        )
        data = datasets.Dataset.from_dict({"image": [{"bytes": raw}] * 2, "label": [0, 1]}, kinds)
        data.to_parquet(tmp_path / f"{split}.parquet")
    train, test = (open_source(tmp_path, split=split) for split in ("train", "test"))
    assert train.classes == test.classes and set(train.classes) == {"ant", "cat", "dog"}
    assert [s["caption"] for s in train] == ["a photo of a dog.", "a photo of a ant."]
    assert [test.classes[s["label"]] for s in test] == ["cat", "dog"]


@pytest.mark.parametrize("template", ["a photo", "a %s", "{{}}", "{} {}", "{0!r:9}", "{", "{x}"])
def test_a_template_that_is_never_filled(template: str, tmp_path: Path) -> None:
    from vlcourse.evals.clip import classifier
    from vlcourse.recipes.clip import PairData

    picture(tmp_path / "a" / "x.png"), picture(tmp_path / "b" / "x.png")
    for make in (
        lambda: open_source(tmp_path, template=["a {}", template]),
        lambda: PairData(templates=("a {}", template)),
        lambda: classifier(None, None, ["a"], ["a {}", template]),  # type: ignore[arg-type]
    ):
        with pytest.raises(SourceError, match="a template needs one '{}'"):
            make()


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,caption\nx.png,a\nx.png,a dog, running\n", "line 3 has 3 cells, but the header"),
        ("image,caption\nx.png\nx.png,b\n", "line 2 has 1 cells"),
        ('image,caption\nx.png,a\nx.png,"open\nx.png,next\n', "line 3: a double quote is never"),
        ('image,caption\nx.png,"open\nx.png,"b"\n', "line 2: a double quote is never closed"),
        ('image,caption\nx.png,"open\nx.png,b"\nx.png,c\n', "line 2: a double quote is never"),
        ('caption,image\n"open,x.png\nb,x.png\n","x.png"\n', "line 2: a double quote is never"),
        ('image,caption\nx.png,"a\nb"\nx.png,a,b\n', "line 4 has 3 cells"),
        ("image,caption,caption\nx.png,a,b\n", "has two columns 'caption'"),
        ("x.png,a\nx.png,b\n", "has no header.* such as file_name and caption"),
        ("x.PNG#0\ta\nx.PNG#1\tb\n", "has no header"),  # Flickr8k's first form
        ("image,caption\n", "holds no rows"),
        ("", "holds no rows"),
        ('image,caption\nx.png,"' + "a" * 200_000, "line 2: a double quote is never closed"),
    ],
)
def test_csv_that_would_lose_text(tmp_path: Path, text: str, said: str) -> None:
    picture(tmp_path / "x.png")
    with pytest.raises(SourceError, match=said) as error:
        open_source(write(tmp_path / "a.csv", text))
    assert "a.csv" in str(error.value) and "\n" not in str(error.value)


def test_csv_that_is_whole(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    rows = ['x.png,"a, b"', 'x.png,"say ""hi"""', 'x.png,"two\nlines"', "", "x.png,é"]
    path = write(tmp_path / "a.csv", "image,caption\n" + "\n".join(rows))
    assert captions(open_source(path)) == ["a, b", 'say "hi"', "two\nlines", "é"]
    for sign, suffix in (("\t", "tsv"), (";", "csv"), ("|", "csv")):
        path = write(tmp_path / f"b.{suffix}", f"image{sign} caption\nx.png{sign} a, b\n")
        assert captions(open_source(path)) == ["a, b"]


def test_columns_named_from_the_command_line(tmp_path: Path) -> None:
    from vlcourse import overrides
    from vlcourse.engine.config import TrainConfig
    from vlcourse.recipes import RECIPES

    for i in range(20):
        picture(tmp_path / "p" / f"{i}.png", i)
    lines = "\n".join(f"{i}.png,t{i},d{i}" for i in range(20))
    path = write(tmp_path / "p" / "pairs.csv", "filepath,title,caption\n" + lines)
    words = [f"data.source={path}", "data.image=filepath", "data.caption=title"]
    data = overrides.apply(RECIPES["clip-cifar"], words).data
    train, test = (data.dataset(None, TrainConfig(), split) for split in ("train", "test"))
    assert captions(test) == ["t9", "t19"] and len(train) == 18
    wrong = overrides.apply(RECIPES["clip-cifar"], [words[0], "data.caption=titel"]).data
    with pytest.raises(SourceError, match="no caption column 'titel'.*Did you mean 'title'"):
        wrong.dataset(None, TrainConfig(), "train")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([[[0, 1], [2, 3]]], "holds List.*int64"),
        ([{"pixels": [1], "width": 2}], "'pixels'.*'width'"),
        ([7], "int64"),
    ],
)
def test_pixel_lists_and_other_structs_are_named(tmp_path: Path, column: Any, said: str) -> None:
    pq.write_table(pa.table({"image": column, "caption": ["a"]}), tmp_path / "a.parquet")
    row = {"image": column[0], "caption": "a"}
    for source in (tmp_path / "a.parquet", write(tmp_path / "a.jsonl", json.dumps(row))):
        with pytest.raises(SourceError, match=f"column 'image' .*{said}.*I read encoded pictures"):
            open_source(source)


# ---------------------------------------------------------------- names of paths


def test_brackets_in_names(tmp_path: Path) -> None:
    for name in ("my [photos]", "[a-c]*"):
        folder = tmp_path / name
        picture(folder / "x[1].png", 9)
        write(folder / "metadata.csv", "file_name,caption\nx[1].png,one\n")
        assert red(open_source(folder)) == [9]
        assert captions(open_source(str(folder / "*.csv"))) == ["one"]
        (folder / "metadata.csv").unlink()
        pq.write_table(pa.table(rows_of(3)), folder / "a[0].parquet")
        for source in (folder, folder / "a[0].parquet", f"{folder}/*.parquet"):
            assert len(open_source(source)) == 3
            assert len(list(open_source(source, streaming=True))) == 3


def test_a_plain_name_is_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlcourse.recipes.recipe import find_source

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLCOURSE_SHARED_DATA", str(tmp_path / "shared"))
    picture(tmp_path / "pics" / "a" / "1.png"), picture(tmp_path / "pics" / "b" / "1.png")
    assert len(open_source("pics")) == len(open_source("./pics")) == 2
    assert find_source("pics") == "pics"
    (tmp_path / "shared" / "pics").mkdir(parents=True)
    assert find_source("pics") == str(tmp_path / "shared" / "pics")
    with pytest.raises(SourceError, match=r"'pisc' is no file or folder here.*Did you mean 'pics'"):
        open_source("pisc")


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (
            picture(tmp_path / "disk" / split / "a" / "1.png"),
            picture(tmp_path / "disk" / split / "b.png"),
        )
        write(tmp_path / "disk" / split / "metadata.csv", "file_name,caption\na/1.png,one\n")
        write(tmp_path / "disk" / split / "words.txt", f"text of {split}")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train").symlink_to(tmp_path / "disk" / "train")
    (tmp_path / "set" / "test").symlink_to("../disk/test")
    (tmp_path / "disk" / "train" / "a" / "again").symlink_to(tmp_path / "set")  # a circle
    for split in ("train", "test"):
        assert captions(open_source(tmp_path / "set", split=split)) == ["one"]
        texts = [text.text for file in find_texts(tmp_path / "set", split).files for text in file]
        assert texts == [f"text of {split}"]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "metadata.csv")
    with pytest.raises(SourceError, match="metadata.csv is a broken link, or no file"):
        open_source(tmp_path)
    (tmp_path / "metadata.csv").unlink()
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(SourceError, match="1 empty caption"):
        open_source(tmp_path)


def test_a_folder_of_pictures_alone(tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.png"), (tmp_path / "q").mkdir()
    with pytest.raises(SourceError, match="holds pictures, but no captions: I read .*x.txt beside"):
        open_source(tmp_path / "p")
    with pytest.raises(SourceError, match="holds no pictures, tables or .parquet files"):
        open_source(tmp_path / "q")
    write(tmp_path / "q" / "one.csv", "image,caption\na.png,b\n")
    write(tmp_path / "q" / "two.csv", "image,caption\na.png,b\n")
    with pytest.raises(SourceError, match=r"several tables \(one.csv, two.csv\): name one with"):
        open_source(tmp_path / "q")


def test_a_hundred_thousand_files_are_sampled_fast(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 5)
    names = (
        json.dumps({"file_name": "./" * (i % 3) + "a.png", "caption": "x"}) for i in range(100_000)
    )
    path = write(tmp_path / "a.jsonl", "\n".join(names))
    start = time.process_time()
    data = open_source(path, verify=False, split="train")
    opening, start = time.process_time() - start, time.process_time()
    numbers = torch.randperm(len(data))[:512].tolist()
    assert len(data.__getitems__(numbers)) == 512
    assert opening < 20 and time.process_time() - start < 5  # about 2 s and 0.2 s
