"""Bad sources that people have met, given to the command: one sentence, and nothing touched."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlcourse import cli


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 4)).save(stream, "PNG")
    return stream.getvalue()


def lines(*rows: Any) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def table(*rows: Any) -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return stream.getvalue().encode()


def parquet(metadata: str | None = None, **columns: Any) -> bytes:
    stream = io.BytesIO()
    made = pa.table(columns)
    if metadata is not None:
        made = made.replace_schema_metadata({"huggingface": metadata})
    pq.write_table(made, stream)
    return stream.getvalue()


def coco(**changes: Any) -> bytes:
    whole = {
        "images": [{"id": 1, "file_name": "x.png"}],
        "annotations": [{"image_id": 1, "caption": "a"}],
    }
    return json.dumps({**whole, **changes}).encode()


X, PAIR = {"x.png": png()}, {"image": "x.png", "caption": "a"}
FEATURES = '{"info": {"features": {"image": %s}}}'

# What is in the folder, the source, and a piece of the sentence.
PICTURES: dict[str, tuple[dict[str, bytes], str, str]] = {
    # names
    "no such file": ({}, "./nothing.parquet", "there is no file or folder"),
    "a typing error": ({"pairs.csv": b""}, "./pairs.cvs", "Did you mean 'pairs.csv'?"),
    "a folder's typing error": ({"pics/a.csv": b""}, "./picz/a.csv", "there is no file or folder"),
    "no such glob": ({}, "./*.parquet", "no file matches"),
    "an open bracket": ({}, "./[a.parquet", "no file matches"),
    "a long name": ({}, "./" + "x" * 6000 + ".csv", "there is no file or folder"),
    "a long word": ({}, "x" * 6000, "is no file or folder here"),
    "a long glob": ({}, "./" + "*" * 6000, "no file matches"),
    "a NUL": ({}, "./a\0b.csv", "holds a control character"),
    "half a surrogate pair": ({}, "./\ud800.csv", "there is no file or folder"),
    "nobody's home": ({}, "~nobody-of-this-name/a.csv", "there is no file or folder"),
    "a NUL's home": ({}, "~\0/a.csv", "holds a control character"),
    "a web address": ({}, "https://example.org/a.csv", "there is no file or folder"),
    "a hub id that none can be": ({}, "hf://a/b/c", "a hub id has the form 'owner/name'"),
    "a hub id without network": ({}, "hf://some/pairs", "cannot load the dataset 'some/pairs'"),
    # kinds of files
    "an archive": ({"a.tar": b"\0" * 512}, "./a.tar", "unpack an archive"),
    "a picture": (X, "./x.png", "is not a .parquet"),
    "an empty folder": ({"d/.hidden": b""}, "./d", "holds no pictures, tables or .parquet"),
    "pictures alone": ({"d/x.png": png()}, "./d", "holds pictures, but no captions"),
    "several tables": (
        {"d/one.csv": b"image,caption\nx.png,a", "d/two.csv": b"image,caption\nx.png,a"},
        "./d",
        "several tables (one.csv, two.csv)",
    ),
    "only a test split": ({**X, "d/test.jsonl": lines(PAIR)}, "./d", "has no split 'train'"),
    # parquet
    "no parquet": ({"a.parquet": b"not parquet"}, "./a.parquet", "not a parquet file"),
    "an empty parquet": ({"a.parquet": b""}, "./a.parquet", "not a parquet file"),
    "a cut parquet": (
        {"a.parquet": parquet(image=[png()], caption=["a"])[:-9]},
        "./a.parquet",
        "truncated",
    ),
    "no rows": (
        {"a.parquet": parquet(image=pa.array([], "string"), caption=pa.array([], "string"))},
        "./a.parquet",
        "has no rows",
    ),
    "shards that differ": (
        {"d/1.parquet": parquet(image=[png()], text=["a"]), "d/2.parquet": parquet(image=[png()])},
        "./d",
        "has the columns",
    ),
    "lists of pixels": (
        {"a.parquet": parquet(image=[[[0, 1], [2, 3]]], caption=["a"])},
        "./a.parquet",
        "I read encoded pictures",
    ),
    "another struct": (
        {"a.parquet": parquet(image=[{"pixels": [1], "width": 2}], caption=["a"])},
        "./a.parquet",
        "'pixels'",
    ),
    "no pictures": ({"a.parquet": parquet(a=[1], b=[2])}, "./a.parquet", "no image column"),
    "no captions": ({"a.parquet": parquet(image=[png()])}, "./a.parquet", "no caption or label"),
    "numbers without names": (
        {"a.parquet": parquet(image=[png()], label=[3])},
        "./a.parquet",
        "have no names",
    ),
    "captions of numbers": (
        {"a.parquet": parquet(image=[png()] * 9, caption=list(range(9)))},
        "./a.parquet",
        "found int 0",
    ),
    "bytes that are no picture": (
        {"a.parquet": parquet(image=[b"no picture"] * 9, caption=["a"] * 9)},
        "./a.parquet",
        "corrupt image",
    ),
    "metadata that are no JSON": (
        {"a.parquet": parquet("{", image=[png()], caption=["a"])},
        "./a.parquet",
        "Hugging Face metadata make no sense",
    ),
    "metadata of another form": (
        {"a.parquet": parquet(FEATURES % "[3]", image=[png()], caption=["a"])},
        "./a.parquet",
        "Hugging Face metadata make no sense",
    ),
    "an unknown type": (
        {"a.parquet": parquet(FEATURES % '{"_type": "Nope"}', image=[png()], caption=["a"])},
        "./a.parquet",
        "Hugging Face metadata make no sense",
    ),
    "deep metadata": (
        {"a.parquet": parquet("[" * 100_000, image=[png()], caption=["a"])},
        "./a.parquet",
        "Hugging Face metadata make no sense",
    ),
    # tables
    "an empty table": ({"a.csv": b""}, "./a.csv", "holds no rows"),
    "a header alone": ({"a.csv": b"image,caption\n"}, "./a.csv", "holds no rows"),
    "a comma": ({"a.csv": b"image,caption\nx.png,a, b\n"}, "./a.csv", "line 2 has 3 cells"),
    "a short row": ({"a.csv": b"image,caption\nx.png\n"}, "./a.csv", "line 2 has 1 cells"),
    "an open quote": ({"a.csv": b'image,caption\nx.png,"a\n'}, "./a.csv", "quote is never closed"),
    "swallowed rows": (
        {"a.csv": b'image,caption\nx.png,"a\nx.png,"b"\n'},
        "./a.csv",
        "line 2: a double quote is never closed",
    ),
    "a column twice": ({"a.csv": b"image,a,a\nx.png,b,c\n"}, "./a.csv", "two columns 'a'"),
    "another encoding": (
        {"a.csv": "image,caption\nx.png,é".encode("latin-1")},
        "./a.csv",
        "is not UTF-8 text",
    ),
    "UTF-16": ({"a.csv": "image,caption\nx.png,a".encode("utf-16")}, "./a.csv", "is not UTF-8"),
    "a NUL in a header": (
        {"a.csv": b"im\0age,cap\0tion\nx.png,a\n"},
        "./a.csv",
        r"name one of: im\x00age, cap\x00tion",
    ),
    "missing pictures": (
        {"a.csv": table(["image", "caption"], *[[f"{i}.png", "a"] for i in range(9)])},
        "./a.csv",
        "9 missing image file",
    ),
    "long names": (
        {"a.jsonl": lines(*[{**PAIR, "image": f"{i}" * 6000} for i in range(9)])},
        "./a.jsonl",
        "9 missing image file",
    ),
    "names with a NUL": (
        {"a.jsonl": lines(*[{**PAIR, "image": f"{i}\0"} for i in range(9)])},
        "./a.jsonl",
        "9 missing image file",
    ),
    "names of half a pair": (
        {"a.jsonl": lines(*[{**PAIR, "image": f"{i}\ud800"} for i in range(9)])},
        "./a.jsonl",
        "image",
    ),
    "web addresses": (
        {"a.jsonl": lines(*[{**PAIR, "image": f"http://a/{i}"} for i in range(9)])},
        "./a.jsonl",
        "9 web address instead of an image",
    ),
    "dicts for names": (
        {"a.jsonl": lines(*[{**PAIR, "image": {"name": "x.png"}}] * 9)},
        "./a.jsonl",
        "'name'",
    ),
    "lists for names": (
        {"a.jsonl": lines(*[{**PAIR, "image": ["x.png"]}] * 9)},
        "./a.jsonl",
        "the column 'image' holds",
    ),
    "dicts for captions": (
        {**X, "a.jsonl": lines(*[{**PAIR, "caption": {"en": "a"}}] * 9)},
        "./a.jsonl",
        "found a struct of en",
    ),
    "empty captions": (
        {**X, "a.jsonl": lines(*[{**PAIR, "caption": " \n"}] * 9)},
        "./a.jsonl",
        "9 empty caption",
    ),
    "captions of half a pair": (
        {**X, "a.jsonl": lines(*[{**PAIR, "caption": "\ud800"}] * 9)},
        "./a.jsonl",
        "9 empty caption",
    ),
    "keys of half a pair": (
        {"a.jsonl": lines({"\ud800": 1, "b": 2})},
        "./a.jsonl",
        r": \ud800, b.",
    ),
    # JSON
    "no JSON": ({"a.jsonl": b"{"}, "./a.jsonl", "line 1 is not valid JSON"),
    "a broken line": (
        {"a.jsonl": lines(PAIR, PAIR) + b"\n{oops}"},
        "./a.jsonl",
        "line 3 is not valid JSON",
    ),
    "no objects": ({"a.jsonl": b"1\n2"}, "./a.jsonl", "line 1 is not a JSON object"),
    "a number": ({"a.json": b"7"}, "./a.json", "holds int 7, and no rows"),
    "an empty list": ({"a.json": b"[]"}, "./a.json", "holds no rows"),
    "deep lists": ({"a.json": b"[" * 200_000}, "./a.json", "is not valid JSON"),
    "deep objects": ({"a.jsonl": b'{"a":' * 200_000}, "./a.jsonl", "is not valid JSON"),
    "a number of 10,000 digits": ({"a.json": b"1" * 10_000}, "./a.json", "is not valid JSON"),
    "COCO's boxes": (
        {"a.json": coco(annotations=[{"image_id": 1, "bbox": [0, 0, 1, 1]}])},
        "./a.json",
        "is not a file of COCO's captions",
    ),
    "COCO without pictures": ({"a.json": coco(images=None)}, "./a.json", "of COCO's captions"),
    "COCO with unknown pictures": ({"a.json": coco(images=[])}, "./a.json", "COCO's captions"),
    "COCO of numbers": ({"a.json": coco(annotations=[1])}, "./a.json", "COCO's captions"),
    "COCO with lists as ids": (
        {"a.json": coco(images=[{"id": [], "file_name": "x.png"}])},
        "./a.json",
        "COCO's captions",
    ),
    "images alone": ({"a.json": b'{"images": [1]}'}, "./a.json", "images, but no captions"),
    "an answer of nobody": (
        {**X, "a.json": json.dumps([{"image": "x.png", "conversations": []}] * 9).encode()},
        "./a.json",
        "9 empty caption",
    ),
}

TEXTS: dict[str, tuple[dict[str, bytes], str, str]] = {
    "no such file": ({}, "./nothing.txt", "there is no file"),
    "a typing error": ({"words.txt": b"a"}, "./wrods.txt", "Did you mean 'words.txt'?"),
    "no such glob": ({}, "./*.txt", "no file matches"),
    "a long name": ({}, "./" + "x" * 6000 + ".txt", "there is no file"),
    "a NUL": ({}, "./\0.txt", "holds a control character"),
    "half a surrogate pair": ({}, "./\ud800.txt", "there is no file"),
    "an empty folder": ({"d/a.png": b""}, "./d", "holds no .txt"),
    "a picture": (X, "./x.png", "is not a file of texts"),
    "an empty file": ({"a.txt": b""}, "./a.txt", "is too small"),
    "one document": ({"a.txt": b"a text"}, "./a.txt", "is too small"),
    "a cut gzip": ({"a.txt.gz": gzip.compress(b"a" * 999)[:-9]}, "./a.txt.gz", "is damaged"),
    "no gzip": ({"a.jsonl.gz": b"{}"}, "./a.jsonl.gz", "is damaged or no .jsonl file"),
    "no parquet": ({"a.parquet": b"PAR1"}, "./a.parquet", "is damaged or no .parquet file"),
    "no column": ({"a.jsonl": lines({"a": "b", "c": "d"})}, "./a.jsonl", "several of strings (a, "),
    "no strings": ({"a.jsonl": lines({"a": 1})}, "./a.jsonl", "no other one of strings"),
    "broken lines": ({"a.jsonl": b"{\n" * 40}, "./a.jsonl", "40 broken JSON line"),
    "deep lines": ({"a.jsonl": b"[" * 200_000}, "./a.jsonl", "1 broken JSON line"),
    "a deep list": ({"a.json": b"[" * 200_000}, "./a.json", "is not valid JSON"),
    "numbers": ({"a.jsonl": lines(*[{"text": 1}] * 40)}, "./a.jsonl", "40 not a string"),
    "dicts": ({"a.jsonl": lines({"text": "a"}, *[{"text": {}}] * 9)}, "./a.jsonl", "9 not a str"),
    "halves of pairs": ({"a.jsonl": lines(*[{"text": "\ud800"}] * 9)}, "./a.jsonl", "not UTF-8"),
    "another encoding": ({"a.txt": "é".encode("latin-1")}, "./a.txt", "not UTF-8 text"),
}
SMALL = "model.width=16 model.layers=1 model.heads=1 model.hidden=16 model.vocab_size=622"
RUNS = {
    "pictures": ["train", "clip-cifar", "train.batch_size=2", "train.steps=2", "train.warmup=1"],
    "texts": [
        "train",
        "llama-7b",
        "data.tokenizer=toy",
        "data.context=8",
        "run.parallel=none",
        *SMALL.split(),
    ],
}
LISTED = [("pictures", name, *case) for name, case in PICTURES.items()]
LISTED += [("texts", name, *case) for name, case in TEXTS.items()]


@pytest.mark.parametrize(
    ("kind", "name", "files", "source", "said"),
    LISTED,
    ids=[f"{kind}-{name}".replace(" ", "-") for kind, name, *_ in LISTED],
)
def test_a_bad_source_is_refused_in_one_sentence(
    kind: str, name: str, files: dict[str, bytes], source: str, said: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    here = tmp_path / "here"
    for file, raw in files.items():
        (here / file).parent.mkdir(parents=True, exist_ok=True)
        (here / file).write_bytes(raw)
    here.mkdir(exist_ok=True)
    monkeypatch.chdir(here)
    try:
        code = cli.main([*RUNS[kind], f"data.source={source}", "--out", str(tmp_path / "run")])
    except SystemExit as stopped:  # the word itself is refused
        code = int(stopped.code or 0)
    shown = capsys.readouterr().err
    sentence = shown[shown.find("vlcourse: ") :]  # after the bar, where it began
    assert code == 2 and said in sentence, shown
    assert sentence.count("\n") == 1 and len(sentence) < 2500 and "Error" not in sentence
    there = {p.relative_to(here).as_posix(): p for p in here.rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in there.items()} == files
