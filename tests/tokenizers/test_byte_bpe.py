"""Byte-pair encoding: learning, encoding, decoding, batches, files."""

import pickle

import pytest
import torch

from vlcourse import tokenizers
from vlcourse.data import world
from vlcourse.tokenizers import byte_bpe
from vlcourse.tokenizers.byte_bpe import ByteBPE, FastBPE, clean, merge, split_words, train_bpe

CORPUS = ["low low low low low", "lower lower newest newest newest newest newest newest", "widest"]


@pytest.fixture
def bpe() -> ByteBPE:
    return ByteBPE(train_bpe(CORPUS, 12))


def test_merge_goes_from_left_to_right():
    assert merge(("a", "a", "a", "b"), ("a", "a")) == ("aa", "a", "b")
    assert merge(("a", "b", "a", "b"), ("a", "b")) == ("ab", "ab")


def test_first_merges_are_the_most_frequent_pairs():
    # pairs: w-e 8 (lower 2 + newest 6), e-s 7, s-t 7, l-o 7, …
    assert train_bpe(CORPUS, 1) == [("w", "e")]


def test_training_stops_when_every_word_is_one_symbol():
    merges = train_bpe(["ab ab cd"], 100)
    assert merges == [("a", "b</w>"), ("c", "d</w>")]


def test_known_words_become_one_token_and_unknown_ones_fall_back_to_bytes(bpe):
    assert len(bpe.encode("newest")) == 1
    assert bpe.decode(bpe.encode("zebra 草莓 🍓")) == "zebra 草莓 🍓"


def test_vocabulary_order_and_ends(bpe):
    assert bpe.vocab_size == 512 + len(bpe.merges) + 2
    assert bpe.end == bpe.vocab_size - 1 and bpe.start == bpe.end - 1
    assert bpe.tokens[0] == "!" and bpe.tokens[256] == "!</w>"


def test_cleaning():
    assert clean("  A &amp;amp; B\n\tC ") == "a & b c"
    assert split_words("it's 2 dogs!!") == ["it", "'s", "2", "dogs", "!!"]


def test_batch_is_padded_and_ends_in_the_largest_id(bpe):
    tokens = bpe(["low", "newest lower low"])
    assert tokens.dtype == torch.long and tokens.shape[0] == 2
    assert tokens[:, 0].tolist() == [bpe.start] * 2
    assert [int(row.argmax()) for row in tokens] == [2, 4]
    assert tokens[0, 3:].sum() == 0
    assert bpe("low", pad_to=9).shape == (1, 9)


def test_too_long_a_text_is_refused_or_cut(bpe):
    with pytest.raises(ValueError, match="does not fit the context of 4"):
        bpe("low low low low", context=4)
    cut = bpe("low low low low", context=4, truncate=True)
    assert cut.shape == (1, 4) and cut[0, -1] == bpe.end


def test_save_and_load(bpe, tmp_path):
    bpe.save(tmp_path / "merges.txt")
    again = ByteBPE.load(tmp_path / "merges.txt")
    assert again.merges == bpe.merges
    assert again.encode("lower newest é") == bpe.encode("lower newest é")
    assert [p.name for p in tmp_path.iterdir()] == ["merges.txt"]


def test_a_broken_file_is_named_with_its_line(tmp_path):
    (tmp_path / "merges.txt").write_text("a b\nab\n")
    with pytest.raises(ValueError, match=r"line 2: expected two symbols, got 'ab'"):
        ByteBPE.load(tmp_path / "merges.txt")


def test_the_fast_tokenizer_agrees_on_every_kind_of_caption():
    fast = tokenizers.toy()
    assert isinstance(fast, FastBPE) and fast.vocab_size == tokenizers.TOY_VOCAB
    slow = ByteBPE(fast.merges)
    texts = [str(c) for seed in range(50) for c in world.Scene.sample(seed).captions()]
    texts += [name for texts in (world.COLOURS, world.SHAPES) for name in texts] + ["zebra Ü 草莓"]
    assert [fast.encode(t) for t in texts] == [slow.encode(t) for t in texts]


def test_the_fast_tokenizer_travels_to_another_process():
    fast = tokenizers.toy()
    copy = pickle.loads(pickle.dumps(fast))
    assert copy("a red circle").equal(fast("a red circle"))


def test_what_the_fast_tokenizer_remembers_is_bounded():
    memo = byte_bpe._Memo(lambda key: [len(key)], limit=3)
    assert [memo[key] for key in ("a", "bb", "a", "ccc", "dddd", "a")] == [
        [1], [2], [1], [3], [4], [1]
    ]  # fmt: skip
    assert len(memo) == 2


@pytest.mark.parametrize(
    "merges",
    [
        [("ab", "c"), ("a", "b")],  # a part before it is made
        [("a", "b"), ("ab", "c"), ("b", "c"), ("a", "bc")],  # one token made twice
    ],
)
def test_merges_that_no_training_learns_are_refused_by_the_fast_tokenizer(merges):
    ByteBPE(merges)
    with pytest.raises(ValueError, match="use ByteBPE"):
        FastBPE(merges)
