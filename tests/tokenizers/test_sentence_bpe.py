"""The SentencePiece-style tokenizer: learning, encoding, decoding, files."""

import pickle
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlcourse.data.corpus import corpus
from vlcourse.data.train_tokenizers import train_toy_llama
from vlcourse.tokenizers import sentence_bpe
from vlcourse.tokenizers.sentence_bpe import FastSentenceBPE, SentenceBPE
from vlcourse.tokenizers.sentence_training import (
    SPECIAL,
    Piece,
    mark,
    split_runs,
    train_sentence_bpe,
)

CORPUS = ["low low low low low", "lower lower newest newest newest newest newest newest", "widest"]


def learned(texts: list[str], vocab_size: int = 10_000) -> list[str]:
    return [p.text for p in train_sentence_bpe(texts, vocab_size)[len(SPECIAL) :]]


def of(*texts: str) -> list[Piece]:
    """A vocabulary of the special pieces and these, the best first."""
    return [*SPECIAL, *(Piece(text, float(-i)) for i, text in enumerate(texts))]


@pytest.fixture
def bpe() -> SentenceBPE:
    return SentenceBPE(train_sentence_bpe(CORPUS, 280))


def test_llama_s_order_of_the_vocabulary(bpe):
    assert [bpe.piece(i) for i in (0, 1, 2, 3, 13, 258)] == [
        "<unk>", "<s>", "</s>", "<0x00>", "<0x0A>", "<0xFF>"
    ]  # fmt: skip
    assert (bpe.unk, bpe.bos, bpe.eos, bpe.vocab_size) == (0, 1, 2, 280)
    rest = bpe.pieces[259:]
    assert [p.score for p in rest] == [float(-i) for i in range(21)]
    lengths = [len(p.text) > 1 for p in rest]
    assert lengths == sorted(lengths, reverse=True)  # the alphabet is last
    # e: 2 lower, 12 newest, 1 widest; w: 5 low, 2 lower, 6 newest, 1 widest; 14 words
    assert [p.text for p in rest if len(p.text) == 1][:3] == ["e", "w", "▁"]


def test_the_first_merges_are_the_most_frequent_pairs():
    # w-e 8 (lower 2 + newest 6), then l-o, s-t and ▁-l, 7 each: the first when sorted
    assert learned(CORPUS)[:2] == ["we", "lo"]
    # all once: the shorter, then the one that sorts first
    assert learned(["ab c"])[:3] == ["ab", "▁c", "▁ab"]


def test_a_word_begins_with_its_mark_and_nothing_crosses_it():
    assert mark("a  b") == "▁a▁▁b" and mark("") == ""
    assert split_runs(mark("it's  (2) 10km カタカナ漢字кот")) == (
        "▁it ' s ▁ ▁( 2 ) ▁ 1 0 km ▁カタカナ漢字 кот".split(" ")
    )
    assert not any("▁" in text[1:] for text in learned(["a b a b a b a b"]))


def test_learning_stops_when_each_word_is_one_piece():
    assert learned(["ab ab cd"]) == ["ab", "▁ab", "cd", "▁cd", "▁", "a", "b", "c", "d"]


def test_no_piece_is_longer_than_sentencepiece_allows():
    word = "internationalisations"  # 22 characters with its mark
    assert max(map(len, learned([word[:n] for n in range(22)]))) == 16


def test_the_order_of_the_texts_does_not_matter():
    texts = [f"word{chr(97 + i % 7)} and{chr(97 + i % 5)} {i}" for i in range(60)]
    wanted = train_sentence_bpe(texts, 300)
    for seed in range(5):
        random.Random(seed).shuffle(texts)
        assert train_sentence_bpe(iter(texts), 300) == wanted


def test_a_vocabulary_too_small_for_the_alphabet_is_refused():
    assert len(train_sentence_bpe(["ab"], 262)) == 262
    with pytest.raises(ValueError, match="of 261 pieces .* 3 characters; ask for at least 262"):
        train_sentence_bpe(["ab"], 261)


def test_learning_from_many_short_sentences_takes_seconds():
    choose = random.Random(0)
    words = [
        "".join(choose.choices("abcdefghijklmnopqrst", k=choose.randint(2, 9))) for _ in "x" * 300
    ]
    texts = [" ".join(choose.choices(words, k=9)) + "." for _ in range(20_000)]
    start = time.process_time()
    tokenizer = SentenceBPE(train_sentence_bpe(texts, 10_000))
    assert time.process_time() - start < 10
    assert all(len(tokenizer.encode(word)) == 1 for word in words)


def test_encoding_takes_the_best_pair_first_and_the_leftmost_of_equals():
    tokenizer = SentenceBPE(of("bc", "ab", "abc", "aa", "▁", "a", "b", "c"))
    for text, wanted in {
        "abc": "▁ abc", "abab": "▁ ab ab", "aaa": "▁ aa a", "aaabc": "▁ aa abc", "bcc": "▁ bc c"
    }.items():  # fmt: skip
        assert [tokenizer.piece(i) for i in tokenizer.encode(text)] == wanted.split()


def test_unknown_characters_fall_back_to_their_bytes(bpe):
    ids = bpe.encode("low 草")
    assert [bpe.piece(i) for i in ids] == ["▁low", "▁", "<0xE8>", "<0x8D>", "<0x89>"]
    assert bpe.decode(ids) == "low 草" and bpe.decode(ids[:-1]) == "low \ufffd"
    assert bpe.unk not in bpe.encode("\0\n<unk>🍓")


def test_digits_are_always_one_token_each():
    tokenizer = SentenceBPE(train_sentence_bpe(["in 2024 x2 2024 1999 20 20 20km"] * 9, 400))
    for text in ("2024", "x20242024y", " 77 20km", "3.14"):
        pieces = [tokenizer.piece(i) for i in tokenizer.encode(text)]
        assert sum(p.isdigit() or p.startswith("<0x3") for p in pieces) == sum(
            map(str.isdigit, text)
        )
        assert not any(
            len(p) > 1 and any(c in "0123456789" for c in p) for p in pieces if p[0] != "<"
        )


def test_control_pieces(bpe):
    low = bpe.encode("low")
    assert bpe.encode("low", bos=True, eos=True) == [1, *low, 2]
    assert bpe.encode("") == [] and bpe.encode("", bos=True) == [1]
    assert bpe.decode([1, *low, 2, 2]) == "low"
    assert not {1, 2} & set(bpe.encode("<s>low</s>"))  # a text cannot forge them
    assert bpe.decode([0]) == " ⁇ " and bpe.decode([]) == ""


def test_an_id_outside_the_vocabulary_is_refused(bpe):
    for i in (-1, bpe.vocab_size):
        with pytest.raises(IndexError, match=f"no piece has the id {i}: the ids are 0 to 279"):
            bpe.decode([5, i])
        with pytest.raises(IndexError, match="no piece has the id"):
            bpe.piece(i)


@settings(max_examples=500, deadline=None, database=None, derandomize=True)
@given(st.one_of(st.text(), st.text(st.sampled_from("lowernest  .2\n")), st.text("a b")))
def test_every_text_comes_back_but_for_the_mark_itself(text):
    assert ROUND.decode(ROUND.encode(text, bos=True, eos=True)) == text.replace("▁", " ")


ROUND = SentenceBPE(train_sentence_bpe(CORPUS, 280))

# Vocabularies that no training gives: the scores are in any order, pieces may hold spaces anywhere.
vocabularies = st.lists(
    st.text(st.sampled_from("ab▁"), min_size=1, max_size=4), unique=True, min_size=2, max_size=25
)


@settings(max_examples=600, deadline=None, database=None, derandomize=True)
@given(
    vocabularies, st.lists(st.text(st.sampled_from("aab ▁c"), max_size=25), max_size=4), st.data()
)
def test_the_fast_tokenizer_gives_the_same_ids_with_any_vocabulary(texts, several, data):
    scores = data.draw(st.lists(st.integers(-9, 9), min_size=len(texts), max_size=len(texts)))
    pieces = [*SPECIAL, *(Piece(t, float(s)) for t, s in zip(texts, scores, strict=True))]
    slow, fast = SentenceBPE(pieces), FastSentenceBPE(pieces)
    for text in [*several, *several]:
        assert fast.encode(text) == slow.encode(text)


def test_the_fast_tokenizer_takes_long_texts_without_spaces():
    fast = FastSentenceBPE(of("ab", "abab", "cc", "▁", "a", "b", "c"))
    start = time.process_time()
    assert len(fast.encode("abababccab草" * 5000)) == 1 + 8 * 5000 - 5000
    assert time.process_time() - start < 10


def test_the_fast_tokenizer_travels_to_another_process():
    fast = FastSentenceBPE(train_sentence_bpe(CORPUS, 280))
    wanted = fast.encode("lower newest")
    copy = pickle.loads(pickle.dumps(fast))
    assert copy.pieces == fast.pieces and copy.encode("lower newest") == wanted


def test_a_continuation_keeps_its_first_space(bpe):
    for text, more in (("low", " lower"), ("low", " 草"), ("low", "er"), ("", "low")):
        whole = bpe.encode(text + more)
        n = len(bpe.encode(text))
        assert bpe.decode(whole[:n]) + bpe.decode(whole[n:], continued=n > 0) == text + more


def test_the_fast_tokenizer_gives_the_ids_of_the_slow_one_on_the_toy_corpus():
    fast, slow = sentence_bpe.toy(), SentenceBPE(sentence_bpe.toy().pieces)
    texts = [text for document in corpus.sentences(150, 4) for text in document.split(". ")]
    assert len(texts) > 1000
    assert [fast.encode(text) for text in texts] == [slow.encode(text) for text in texts]


def test_many_pieces_stay_fast():
    choose = random.Random(0)
    words = {"".join(choose.choices("abcdefgh", k=choose.randint(2, 7))) for _ in range(20_000)}
    fast = FastSentenceBPE(of(*sorted(words)[:16_000], *"▁abcdefgh"))
    text = " ".join(sorted(words)[:5000])
    start = time.process_time()
    assert pickle.loads(pickle.dumps(fast)).encode(text) == fast.encode(text)
    assert time.process_time() - start < 5


def test_save_and_load(tmp_path):
    pieces = of('"', "\\", "\n", "\r\n", " ", "\u2028", "\x85", "草莓", "▁a b", "null", "\t")
    pieces[-1] = Piece("\t", 0.5)
    path = tmp_path / "pieces.txt"
    SentenceBPE(pieces).save(path)
    for kind in (SentenceBPE, FastSentenceBPE):
        again = kind.load(path)
        assert type(again) is kind and again.pieces == tuple(pieces)
    assert [p.name for p in tmp_path.iterdir()] == ["pieces.txt"]
    lines = path.read_text("utf-8").split("\n")
    assert lines[0] == '["<unk>", 0.0, "unknown"]' and lines[266] == '["草莓", -7.0]'
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # a checkout on Windows
    assert SentenceBPE.load(path).pieces == tuple(pieces)


@pytest.mark.parametrize(
    "line",
    ["", "low -3", '["low"]', '["low", "-3"]', '["low", -3, "word"]', '["a", 1, "byte", 2]', "7",
     '{"a": 1, "b": 2}', '["low", -3', '["low", true]', '["low", NaN]', '[3, -3]', "null",
     '["", 1]', '["a", 1, []]'],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_line(bpe, tmp_path, line):
    path = tmp_path / "pieces.txt"
    bpe.save(path)
    lines = path.read_text("utf-8").split("\n")
    lines[261] = line
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(ValueError, match=r"pieces.txt, line 262: expected \[\"text\", score\]"):
        SentenceBPE.load(path)


def test_a_file_of_bytes_that_are_no_text_is_refused(tmp_path):
    (tmp_path / "pieces.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="pieces.txt is no file of pieces"):
        SentenceBPE.load(tmp_path / "pieces.txt")


def test_a_vocabulary_with_faults_is_refused(bpe, tmp_path):
    with pytest.raises(ValueError, match="id 261: the piece 'a' is already id 259"):
        SentenceBPE(of("a", "b", "a"))
    with pytest.raises(ValueError, match="id 259: the piece '' is empty"):
        SentenceBPE(of(""))
    with pytest.raises(ValueError, match="has no byte piece '<0x41>'"):
        SentenceBPE(p for p in SPECIAL if p.text != "<0x41>")
    with pytest.raises(ValueError, match="has no control piece '</s>'"):
        SentenceBPE([*SPECIAL[:2], Piece("</s>"), *SPECIAL[3:]])
    bpe.save(tmp_path / "pieces.txt")
    with (tmp_path / "pieces.txt").open("a", encoding="utf-8") as file:
        file.write('["<s>", 0.0, "control"]\n')
    with pytest.raises(ValueError, match=r"pieces.txt, line 281: '<s>' stands on a line above too"):
        SentenceBPE.load(tmp_path / "pieces.txt")


def test_every_word_of_the_corpus_is_one_piece_of_the_shipped_vocabulary() -> None:
    toy, again = sentence_bpe.toy(), train_toy_llama()
    assert isinstance(toy, FastSentenceBPE) and sentence_bpe.toy() is toy
    words = {word for text in corpus.sentences(300, 9) for word in text.split()}
    for word in words:
        letters = "".join(c for c in word if c.isalpha())
        for tokenizer in (toy, again):
            pieces = [tokenizer.piece(i) for i in tokenizer.encode(word)]
            assert pieces[0] == f"▁{letters}" or not letters, (word, pieces)
