"""CLIP's own merges: our ids against open_clip's tokenizer, on many kinds of text."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import tokenizer as open_clip_tokenizer

from vlcourse.tokenizers import ByteBPE


@pytest.fixture(scope="module")
def ours() -> ByteBPE:
    path = Path(open_clip_tokenizer.default_bpe())
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    return ByteBPE([tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]])


@pytest.fixture(scope="module")
def theirs():
    return open_clip_tokenizer.SimpleTokenizer()


def test_vocabulary(ours, theirs):
    assert ours.vocab_size == 49408
    assert ours.ids == theirs.encoder


TEXTS = (
    "a photo of a dog.",
    "It's 2 o'clock — they'll've 1234 cafés!!",
    "一只红色的圆圈 左边 蓝色方块",
    "🍓🚀👨‍👩‍👧‍👦 emoji",
    "tabs\tand\nnew   lines\x00\x1f\x7f",
    "&lt;b&gt; &amp;amp; html",
    "<start_of_text> inside <end_of_text> and <|endoftext|>",
    "ﬁ ligature, Å, ß, İstanbul, ǅ, ς",
    "",
    "   ",
    "supercalifragilistic" * 200,
    "é" * 500,
)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_same_ids_on_awkward_texts(ours, theirs, text):
    assert ours.encode(text) == theirs.encode(text)


alphabets = st.one_of(
    st.text(max_size=80),
    st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=40),
    st.text(st.characters(min_codepoint=0x1F300, max_codepoint=0x1FAFF), max_size=20),
    st.text(st.characters(max_codepoint=0x7F), max_size=120),
    st.lists(st.sampled_from("a photo of the big-red dogs' 12 cats, it's! ".split())).map(" ".join),
)


@settings(max_examples=5000, deadline=None, database=None, derandomize=True)
@given(alphabets)
def test_the_same_ids_on_5000_random_texts(ours, theirs, text):
    assert ours.encode(text) == theirs.encode(text)
