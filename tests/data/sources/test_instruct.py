"""Instructions of others: read in three forms, refused by file, index and key."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.instruct import Record, Turn, read_instructions

ALPACA = {"instruction": "add", "input": "1 and 2", "output": "3"}
LLAVA = {
    "id": "7",
    "image": "a.jpg",
    "conversations": [
        {"from": "human", "value": "<image>\nwhat is it?"},
        {"from": "gpt", "value": "a cat"},
        {"from": "human", "value": "why?"},
        {"from": "gpt", "value": "it purrs"},
    ],
}
CHAT = {"video": "v.mp4", "QA": [{"i": "be brief.", "q": "who?", "a": "me"}, {"q": "w", "a": "t"}]}
READ = (
    Record("f.json:0", (Turn("add", "3", "1 and 2"),)),
    Record("f.json:1", (Turn("what is it?", "a cat"), Turn("why?", "it purrs")), "a.jpg"),
    Record("f.json:2", (Turn("be brief. who?", "me"), Turn("w", "t")), "v.mp4", film=True),
    Record("f.json:3", (Turn("add", "3"),)),
)


def written(folder: Path, content: Any, name: str = "f.json") -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_three_forms_in_one_file(tmp_path: Path) -> None:
    plain = {key: ALPACA[key] for key in ("instruction", "output")}
    rows = [ALPACA, LLAVA, CHAT, plain]
    assert tuple(read_instructions(written(tmp_path, rows))) == READ
    lines = "\n".join(map(json.dumps, rows)).encode()
    (tmp_path / "f.jsonl").write_bytes(lines)
    (tmp_path / "g.jsonl.gz").write_bytes(gzip.compress(lines))
    for name in ("f.jsonl", "g.jsonl.gz"):
        found = read_instructions(tmp_path / name)
        assert [record.turns for record in found] == [record.turns for record in READ]


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


BAD: dict[str, tuple[Any, str]] = {
    "no output": ([ALPACA, without(ALPACA, "output")], "record 1: 'output' is missing"),
    "a number": ([{**ALPACA, "output": 3}], "record 0: 'output' is int 3, and no text"),
    "an input of lists": ([{**ALPACA, "input": ["a"]}], "record 0: 'input' is list"),
    "no form": ([ALPACA, {"text": "a"}], "record 1 has neither"),
    "no object": (["a"], "record 0 is 'a', and no object"),
    "no list": ({"data": [ALPACA]}, "holds a struct of data, and no list"),
    "nothing": ([], "has no records"),
    "an odd conversation": (
        [{"conversations": LLAVA["conversations"][:3]}],
        "record 0: 'conversations' has 3 turns",
    ),
    "the wrong speaker": (
        [{"conversations": [{"from": "gpt", "value": "a"}, {"from": "gpt", "value": "b"}]}],
        "record 0, conversations[0]: 'from' is 'gpt', where 'human' should speak",
    ),
    "no value": (
        [{"conversations": [{"from": "human"}, {"from": "gpt", "value": "b"}]}],
        "record 0, conversations[0]: 'value' is missing",
    ),
    "an empty conversation": ([{"conversations": []}], "record 0: 'conversations' is list"),
    "no answer": ([{"QA": [{"q": "a", "a": "b"}, {"q": "a"}]}], "record 0, QA[1]: 'a' is missing"),
    "QA of words": ([{"QA": ["a"]}], "record 0, QA[0] is 'a', and no object"),
    "a numbered image": ([{**LLAVA, "image": 7}], "record 0: 'image' is int 7, and no text"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_a_bad_record_is_named_by_file_index_and_key(
    content: Any, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(SourceError) as error:
        read_instructions(path)
    assert said in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("a.json", b"[{", "is not valid JSON"),
        ("a.jsonl", b'{"instruction": "a", "output": "b"}\n{', "line 2 is not valid JSON"),
        ("a.json", b"[" * 200_000, "is not valid JSON"),
        ("a.jsonl.gz", b"no gzip", "is damaged or no .json file"),
    ],
)
def test_damaged_files(name: str, raw: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(SourceError, match=said):
        read_instructions(tmp_path / name)
    with pytest.raises(SourceError, match="there is no file"):
        read_instructions(tmp_path / "nothing.json")


@pytest.mark.parametrize("name", ["llava_complex_reasoning_2k", "minigpt_caption_3k"])
def test_real_files(name: str) -> None:
    shared = os.environ.get("VLCOURSE_SHARED_DATA", "../shared/data")
    path = Path(shared) / "instruct" / f"{name}.sample200.json"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    found = read_instructions(path)
    assert len(found) == 200
    assert all(record.image and record.turns[0].answer for record in found)
