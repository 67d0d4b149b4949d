"""Any file gives a tokenizer or one sentence, whatever is in it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlcourse import VlcourseError, tokenizers
from vlcourse.tokenizers import ByteBPE, FastBPE, clip_merges, sentence_bpe
from vlcourse.tokenizers.sentence_bpe import FastSentenceBPE, SentenceBPE
from vlcourse.tokenizers.sentence_model import processor

PIECES = sentence_bpe.toy().pieces
RANKS = b"".join(b"%s %d\n" % (base64.b64encode(bytes([b])), b) for b in range(256))
JSON = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for i, text in enumerate(["<s>", "</s>"])
        ],
        "model": {"type": "BPE", "vocab": {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4},
                  "merges": [["a", "b"]]},
    }
).encode()  # fmt: skip
WHOLE = {
    "model": processor(PIECES[:300]).serialized_model_proto(),
    "pieces": "".join(json.dumps(list(p), ensure_ascii=False) + "\n" for p in PIECES).encode(),
    "ranks": RANKS,
    "json": JSON,
    "merges": b"a b\nab c</w>\n",
}
READERS: tuple[Any, ...] = (
    tokenizers.llama, FastSentenceBPE.load, SentenceBPE.from_model, ByteBPE.load, FastBPE.load,
    lambda path: clip_merges.read(Path(path)),
)  # fmt: skip


def cut(raw: bytes, at: int, n: int, new: bytes) -> bytes:
    """Something else in the place of n bytes."""
    at %= len(raw) + 1
    return raw[:at] + new + raw[at + n :]


spoiled = st.builds(
    lambda kind, at, n, new: cut(WHOLE.get(kind, b""), at, n, new),
    st.sampled_from([*WHOLE, "nothing"]),
    st.integers(0, 100_000),
    st.sampled_from([0, 1, 5, 100, 10**6]),
    st.one_of(
        st.binary(max_size=12), st.sampled_from([b'"', b"[" * 3000, b"\n", b'{"a":', b"9" * 20])
    ),
)


def said(reader: Any, path: Path | str) -> str | None:
    """What the reader refuses a file with; None when it takes it, and it works."""
    try:
        tokenizer = reader(path)
        if not isinstance(tokenizer, list):
            tokenizer.decode(tokenizer.encode("ab low 草"))
    except VlcourseError as error:
        return str(error)
    return None


@settings(
    max_examples=250, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(spoiled, st.sampled_from(READERS))
def test_any_file_gives_a_tokenizer_or_one_sentence(
    tmp_path: Path, raw: bytes, reader: Any
) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(raw)
    sentence = said(reader, path)
    assert sentence is None or (path.name in sentence and len(sentence) < 1000)


def test_the_whole_files_are_read() -> None:
    assert WHOLE["pieces"].count(b"\n") == len(PIECES)


@pytest.mark.parametrize("kind", ["model", "json"])
def test_whole_files_are_tokenizers(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(WHOLE[kind])
    assert said(tokenizers.llama, tmp_path / "file") is None
    (tmp_path / "file").write_bytes(WHOLE[kind][: len(WHOLE[kind]) // 2])
    assert said(tokenizers.llama, tmp_path / "file")


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_at_all(tmp_path: Path, reader: Any) -> None:
    for path in (tmp_path, tmp_path / "none", "x" * 6000, "a\0b", "\ud800"):
        assert said(reader, path), path
    (tmp_path / "lfs").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "Git LFS pointer" in str(said(reader, tmp_path / "lfs"))
