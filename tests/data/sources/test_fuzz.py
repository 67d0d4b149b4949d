"""Whatever a source holds and whatever it is called: samples, or one sentence that refuses it."""

from __future__ import annotations

import gzip
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlcourse import VlcourseError
from vlcourse.data.sources import json_rows, open_source
from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.text_files import find_texts

fuzzed = settings(max_examples=40, deadline=None, database=None, derandomize=True)


@pytest.fixture(autouse=True, scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLCOURSE_DATA", str(tmp_path_factory.mktemp("data")))
        patch.chdir(tmp_path_factory.mktemp("here"))
        patch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
        yield


def unreachable(*args: Any, **kwargs: Any) -> None:
    raise ConnectionError("Name or service not known")


def pictures(source: Any, **options: Any) -> int:
    """How many samples there are, looked at one by one."""
    count = 0
    for sample in open_source(source, max_bad=0.99, **options):
        assert sample["image"].shape[0] == 3 and sample["caption"].strip()
        count += 1
    return count


def texts(source: Any, split: str = "train") -> int:
    return sum(
        isinstance(text.text, str) for file in find_texts(source, split).files for text in file
    )


def answers(read: Callable[..., int], *args: Any, **options: Any) -> int | None:
    """The count, or None where it was refused in one short sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(*args, **options)
        except VlcourseError as error:
            said = str(error)
            assert 10 < len(said) < 2500 and "\n" not in said, said
            said.encode("utf-8")
            return None


# ---------------------------------------------------------------- names

NAMES = st.one_of(
    st.text(min_size=1),
    st.text(alphabet="/.*?[]~\0\ud800ab\\", min_size=1, max_size=40),
    st.text(alphabet="ab/", min_size=200, max_size=6000),
    st.sampled_from(
        ["x" * 6000, "x" * 6000 + ".jsonl", "~nobody-here/x", "hf://", "hf://a/" + "b" * 5000]
    ),
)


@fuzzed
@given(NAMES, st.sampled_from([None, "train", "test", "tset", "\ud800"]))
def test_any_name_is_a_source_or_refused(name: str, split: str | None) -> None:
    if Path(name.replace("\0", "")).is_absolute() or ".." in name:
        name = "x" + name.replace("..", "")  # not all of this machine
    answers(pictures, name, split=split)
    answers(texts, name, split or "train")


@pytest.mark.parametrize("source", [None, 7, {"a": 1}, ["x"], b"x", 1.5])
def test_a_source_that_is_no_name(source: Any) -> None:
    assert answers(pictures, source) is None and answers(texts, source) is None


# ---------------------------------------------------------------- rows

TEXT = st.text() | st.sampled_from(
    ["\ud800", "\0", "good.png", "x" * 6000, "1", "nan", " ", "good"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["bytes", "path", "from", "value", "q", "a", "raw"]), inner
        )
    ),
    max_leaves=6,
)
KEYS = ["image", "file_name", "caption", "label", "id", "image_id", "split", "text", "url", "x"]
KEYS += ["conversations", "QA", "sentences", "", "\0", "\ud800"]
ROWS = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5), max_size=5)
DOCUMENTS = (
    VALUES | ROWS | st.fixed_dictionaries({"images": VALUES | ROWS, "annotations": VALUES | ROWS})
)


def folder_with(name: str, raw: bytes) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    Image.new("RGB", (4, 3)).save(Path(folder.name) / "good.png")
    (Path(folder.name) / name).write_bytes(raw)
    return folder


def both(name: str, raw: bytes, **options: Any) -> None:
    with folder_with(name, raw) as folder:
        for source in (folder, Path(folder) / name):
            for streaming in (False, True):
                answers(pictures, source, streaming=streaming, **options)
            answers(texts, source)


@fuzzed
@given(DOCUMENTS, st.sampled_from([None, "train"]), st.sampled_from([None, "x", "caption"]))
def test_any_json(document: Any, split: str | None, caption: str | None) -> None:
    both("captions.json", json.dumps(document).encode(), split=split, caption=caption)


@fuzzed
@given(ROWS, st.sampled_from([None, ["a", "b"]]))
def test_any_json_lines(rows: list[Any], classes: list[str] | None) -> None:
    raw = "\n".join(json.dumps(row) for row in rows)
    both("metadata.jsonl", raw.encode(), classes=classes)


PIECES = st.sampled_from(
    ['"', ",", "\n", "\r", ";", "\t", "image", "caption", "good.png", "a", "\0", "é"]
)


@fuzzed
@given(st.lists(PIECES, max_size=30).map("".join), st.booleans())
def test_any_csv(text: str, header: bool) -> None:
    both("metadata.csv", ("image,caption\n" * header + text).encode())


@fuzzed
@given(
    st.sampled_from(
        ["a.json", "a.jsonl", "a.csv", "a.txt", "a.jsonl.gz", "a.json.gz", "a.parquet", "a.png"]
    ),
    st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"", b"\x1f\x8b\x08", b"\xef\xbb\xbf", b"PAR1", b"[", b'{"text": ']),
)
def test_any_bytes(name: str, raw: bytes, start: bytes) -> None:
    both(name, start + raw)


def test_a_table_that_is_half_good_gives_that_half(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "good.png")
    rows = [
        {"image": "good.png", "caption": "fine"},
        {"image": {"name": "x"}, "caption": "a dict for a name"},
        {"image": "good.png", "caption": "half \ud800"},
        {"image": "x" * 6000, "caption": "long"},
        {"image": "good.png", "caption": "fine too"},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(
        UserWarning, match="skipped 3 of 5 .* 1 no image, 1 missing image file, 1 em"
    ):
        data = open_source(path, max_bad=0.7)
    assert [sample["caption"] for sample in data] == ["fine", "fine too"]


# ---------------------------------------------------------------- deep, long, hostile


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.jsonl.gz"])
@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "1" * 10_000, "[" + "[" * 900 + "]" * 901]
)
def test_deep_json(tmp_path: Path, name: str, text: str) -> None:
    raw = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    assert answers(pictures, tmp_path / name) is None
    assert not answers(texts, tmp_path / name)


@pytest.mark.parametrize("start", [b"", b"[", b'{"text": "'])
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz"])
def test_a_bomb_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes, name: str
) -> None:
    monkeypatch.setattr(json_rows, "MOST_LINE", 1 << 20)
    monkeypatch.setattr(json_rows, "MOST_DOCUMENT", 1 << 20)
    (tmp_path / name).write_bytes(gzip.compress(start + bytes(1 << 26)))
    one = "JSON value of more" if (start, name) == (b"[", "a.json.gz") else "line 1 is longer"
    with pytest.raises(SourceError, match=f"{one} than 1,048,576 bytes"):
        texts(tmp_path / name)


def test_a_line_as_long_as_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = json.dumps({"text": "a" * 1000}).encode() + b"\n"
    monkeypatch.setattr(json_rows, "MOST_LINE", len(row))
    (tmp_path / "a.jsonl").write_bytes(row * 3)
    assert texts(tmp_path / "a.jsonl") == 3


METADATA = [
    "{", "[1]", '{"info": 1}', '{"info": {"features": []}}', '{"info": {"features": {"image": 3}}}',
    '{"info": {"features": {"image": {"_type": "Nope"}}}}', "[" * 100_000,
    '{"info": {"features": {"image": {"_type": "Image"}, "caption": {"_type": "ClassLabel"}}}}',
    '{"info": {"features": {"caption": {"_type": "ClassLabel", "names": [1, 2]}}}}',
    '{"info": {"features": {"image": {"_type": "Value", "dtype": "int8"}}}}',
    '{"info": {"features": {"image": {"_type": "Audio"}, "caption": {"_type": "Image"}}}}',
    '{"info": {"features": {"caption": {"_type": "Image"}}}}', "\xff\xfe",
]  # fmt: skip


@pytest.mark.parametrize("metadata", METADATA, ids=range(len(METADATA)))
def test_hostile_metadata(tmp_path: Path, metadata: str) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "good.png")
    raw = (tmp_path / "good.png").read_bytes()
    for images in ([raw] * 3, [{"bytes": raw, "path": None}] * 3, [1, 2, 3]):
        table = pa.table({"image": images, "caption": ["a", "b", "c"]})
        table = table.replace_schema_metadata({"huggingface": metadata.encode("latin-1")})
        pq.write_table(table, tmp_path / "a.parquet")
        for options in ({}, {"streaming": True}, {"verify": False}, {"classes": ["a"]}):
            assert answers(pictures, tmp_path / "a.parquet", **options) in (None, 3)
        answers(texts, tmp_path / "a.parquet")


COLUMNS = st.lists(VALUES, min_size=2, max_size=2)


@fuzzed
@given(COLUMNS, COLUMNS, COLUMNS, st.sampled_from([None, ["a", "b"]]))
def test_any_parquet(images: Any, captions: Any, labels: Any, classes: list[str] | None) -> None:
    columns = {}
    for name, values in (("image", images), ("caption", captions), ("label", labels)):
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            columns[name] = pa.array(["good.png", "a"])
    with folder_with("x", b"") as folder:
        path = Path(folder) / "a.parquet"
        try:
            pq.write_table(pa.table(columns), path)
        except pa.ArrowException:  # a struct without fields cannot be written
            return
        for streaming in (False, True):
            answers(pictures, path, streaming=streaming, classes=classes)
            answers(pictures, path, streaming=streaming, label="label")
        answers(texts, path)
