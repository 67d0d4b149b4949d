"""Our SentencePiece tokenizer against the libraries sentencepiece and tokenizers."""

import io
import random
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers

from vlcourse.tokenizers import TokenizerError
from vlcourse.tokenizers.sentence_bpe import FastSentenceBPE, SentenceBPE
from vlcourse.tokenizers.sentence_training import MARK, SPECIAL, split_runs, train_sentence_bpe

LLAMA = {
    "model_type": "bpe",
    "byte_fallback": True,
    "split_digits": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "character_coverage": 1.0,
    "hard_vocab_limit": False,
    "num_threads": 1,
    "minloglevel": 2,
}


def sentences(n: int, seed: int = 0) -> list[str]:
    """Text with repeats, runs of spaces, numbers, punctuation and several scripts."""
    choose = random.Random(seed)
    words = (
        "the a red blue green circle square triangle is are left right of above below how many "
        "small large (red) 'circle', what's 12 3.5 2024 x2 aaa aaaa booom coool lalala e.g. -- "
        "... don't caféteria naïve кот кошка рядом 草莓 草莓红 こんにちは カタカナー "
        "สวัสดี 한국어 שלום internationalisation 🍓 🍓🚀 def f(x): return\nx"
    ).split(" ")
    return [
        "".join(choose.choice(words) + choose.choice([" ", " ", " ", "  ", ". "]) for _ in range(9))
        for _ in range(n)
    ]


def train(texts: list[str], vocab_size: int, **settings_: object) -> bytes:
    """A model file that SentencePiece's own trainer made."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=out,
        vocab_size=vocab_size,
        **{**LLAMA, **settings_},
    )
    return out.getvalue()


class Case(NamedTuple):
    theirs: sentencepiece.SentencePieceProcessor
    slow: SentenceBPE
    fast: FastSentenceBPE


@pytest.fixture(
    scope="module",
    params=[
        {"vocab_size": 397},
        {"vocab_size": 531},
        # LLaMA's own vocabulary has runs of spaces as pieces
        {"vocab_size": 487, "allow_whitespace_only_pieces": True},
        # pieces across spaces: the fast tokenizer may not cut the text there
        {"vocab_size": 613, "split_by_whitespace": False, "split_by_unicode_script": False},
    ],
    ids=["397", "531", "spaces", "across"],
)
def case(request, tmp_path_factory) -> Case:
    path = tmp_path_factory.mktemp("sp") / "tokenizer.model"
    texts = sentences(300)
    if "allow_whitespace_only_pieces" in request.param:
        texts = [text.replace(" ", " " * (1 + i % 4)) for i, text in enumerate(texts)]
    path.write_bytes(train(texts, **request.param))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return Case(theirs, SentenceBPE.from_model(path), FastSentenceBPE.from_model(path))


def test_the_vocabulary_that_was_read(case):
    n = case.theirs.vocab_size()
    assert case.slow.vocab_size == n == case.fast.vocab_size
    assert [case.slow.piece(i) for i in range(n)] == [case.theirs.id_to_piece(i) for i in range(n)]
    assert [p.score for p in case.slow.pieces] == [case.theirs.get_score(i) for i in range(n)]
    assert (case.slow.unk, case.slow.bos, case.slow.eos) == (0, 1, 2)


def test_the_cases_hold_what_they_are_for(case, request):
    merged = [piece.text for piece in case.slow.pieces if len(piece.text) > 1]
    name = request.node.callspec.id
    spaces = [text for text in merged if set(text) == {MARK}]
    across = [text for text in merged if re.search(f"[^{MARK}]{MARK}", text)]
    assert bool(spaces) == (name == "spaces") and bool(across) == (name == "across")


WORDS = " ".join(sentences(4, seed=1)).split(" ")
texts = st.one_of(
    st.text(max_size=60),
    st.text(st.characters(max_codepoint=0x7F), max_size=100),
    st.text(st.characters(min_codepoint=0x3040, max_codepoint=0x9FFF), max_size=30),
    st.text(st.characters(min_codepoint=0x1F300, max_codepoint=0x1FAFF), max_size=20),
    st.text(st.sampled_from("aolbe ▁.'(1\n"), max_size=80),
    st.lists(st.sampled_from([*WORDS, "", "", "▁", "\n", "7"]), max_size=25).map(" ".join),
    st.lists(st.text(st.sampled_from("  abcdelr草🍓")), max_size=8).map("".join),
)
awkward = ["", " ", "   ", " a", "a ", "▁", "▁▁ ▁a", "<s>", "</s><unk><0x41>", "\0", "\u2585"]
awkward += ["\r\n", "2024", "１２", "１a１", "a" * 50, " " * 33 + "x", "\ufffd", "e\u0301", "é"]
awkward += ["👨\u200d👩\u200d👧", "\u2028", "\x85", "\u00a0\u3000"]


@pytest.mark.parametrize("text", awkward)
def test_the_same_ids_on_awkward_texts(case, text):
    wanted = case.theirs.encode(text)
    assert case.slow.encode(text) == wanted == case.fast.encode(text)
    assert case.slow.decode(wanted) == case.theirs.decode(wanted)
    assert case.slow.encode(text, bos=True, eos=True) == [1, *wanted, 2]
    assert case.theirs.encode(text, add_bos=True, add_eos=True) == [1, *wanted, 2]


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(texts)
def test_the_same_ids_on_random_texts(case, text):
    wanted = case.theirs.encode(text)
    assert case.slow.encode(text) == wanted
    assert case.fast.encode(text) == wanted == case.fast.encode(text)  # again, from memory
    assert case.slow.decode(wanted) == case.theirs.decode(wanted) == text.replace(MARK, " ")


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.lists(st.one_of(st.integers(0, 2), st.integers(259, 390)), max_size=12))
def test_the_same_text_of_any_ids_but_broken_bytes(case, ids):
    assert case.slow.decode(ids) == case.theirs.decode(ids)


def test_half_a_surrogate_pair_is_no_text(case):
    for ours in (case.slow, case.fast):
        with pytest.raises(TokenizerError, match="no text that UTF-8 can write"):
            ours.encode("\ud83d")


def test_a_long_text_without_spaces(case):
    text = "lalalaaaa草" * 400
    assert case.fast.encode(text) == case.theirs.encode(text)


@pytest.mark.parametrize("vocab_size", [347, 411, 502])
def test_our_trainer_writes_what_sentencepiece_s_writes(vocab_size):
    corpus = sentences(200, seed=vocab_size)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=train(corpus, vocab_size))
    ours = train_sentence_bpe(corpus, vocab_size)
    assert len(ours) == vocab_size == theirs.vocab_size()
    for i, piece in enumerate(ours):
        assert (piece.text, piece.score) == (theirs.id_to_piece(i), theirs.get_score(i))
        kind = (theirs.is_unknown(i), theirs.is_control(i), theirs.is_byte(i))
        assert kind == tuple(piece.kind == name for name in ("unknown", "control", "byte"))


@pytest.mark.parametrize("seed", range(8))
def test_our_trainer_agrees_where_one_letter_repeats(seed):
    choose = random.Random(seed)
    words = ["a" * choose.randint(1, 16) + "b" * choose.choice([0, 0, 1, 2]) for _ in range(50)]
    words += ["".join(choose.choices("aab", k=choose.randint(4, 14))) for _ in range(50)]
    theirs = sentencepiece.SentencePieceProcessor(model_proto=train([" ".join(words)], 310))
    ours = train_sentence_bpe([" ".join(words)], 310)
    assert [p.text for p in ours] == [theirs.id_to_piece(i) for i in range(310)]


def test_where_no_pair_is_left_ours_stops_and_sentencepiece_s_goes_on():
    corpus = sentences(200)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=train(corpus, 5000))
    ours = train_sentence_bpe(corpus, 5000)
    names = [theirs.id_to_piece(i) for i in range(theirs.vocab_size())]
    merged = [p.text for p in ours[len(SPECIAL) :] if len(p.text) > 1]
    last = len(SPECIAL) + len(merged)
    assert names[len(SPECIAL) : last] == merged
    single = len(ours) - last
    assert names[-single:] == [p.text for p in ours[last:]]
    extra = names[last:-single]
    assert extra, "pieces of which no merged text has need"
    tokenizer = SentenceBPE(ours)
    for text in corpus:
        theirs_said = [names[i] for i in theirs.encode(text)]
        assert [tokenizer.piece(i) for i in tokenizer.encode(text)] == theirs_said
        assert not set(extra) & set(theirs_said)


def tokenizers_bpe(ours: SentenceBPE) -> Tokenizer:
    """Our pieces as a model of the library tokenizers: each way to make a piece is a merge."""
    normal = {p.text: p.score for p in ours.pieces if p.kind == "normal"}
    merges = [
        (text[:cut], text[cut:])
        for text in sorted(normal, key=lambda text: -normal[text])
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]
    model = models.BPE(ours.ids, merges, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    return tokenizer


@pytest.fixture(scope="module", params=[373, 467, 5000])
def trained(request) -> Case:
    ours = train_sentence_bpe(sentences(300), request.param)
    slow = SentenceBPE(ours)
    return Case(tokenizers_bpe(slow), slow, FastSentenceBPE(ours))


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(texts)
@example("")
def test_our_pieces_in_the_library_tokenizers(trained, text):
    wanted = trained.theirs.encode(text).ids
    assert trained.slow.encode(text) == wanted == trained.fast.encode(text)
    assert trained.slow.decode(wanted) == trained.theirs.decode(wanted)
    assert trained.slow.decode(wanted) == text.replace(MARK, " ")


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(texts)
def test_no_character_is_lost_between_runs(text):
    assert "".join(split_runs(text)) == text


BAD = {
    "not BPE": {"model_type": "unigram"},
    "no byte fallback": {"byte_fallback": False},
    r"normalises texts \(nmt_nfkc\)": {"normalization_rule_name": "nmt_nfkc"},
    "removes spaces": {"remove_extra_whitespaces": True},
    "no space before": {"add_dummy_prefix": False},
    "ends of words": {"treat_whitespace_as_suffix": True},
    r"user-defined or unused pieces, such as \['red'\]": {"user_defined_symbols": ["red"]},
    "no control piece '<s>'": {"bos_piece": "<begin>"},
}


@pytest.mark.parametrize("said", BAD)
def test_a_model_unlike_llama_s_is_refused(said, tmp_path):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(train(sentences(100), 420, **BAD[said]))
    with pytest.raises(ValueError, match=said) as caught:
        SentenceBPE.from_model(path)
    assert "tokenizer.model" in str(caught.value) and "\n" not in str(caught.value)


def test_a_setting_that_the_reader_does_not_know_shows_on_the_probes(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(train(sentences(50), 380))
    monkeypatch.setattr(SentenceBPE, "encode", lambda self, text: [0])
    with pytest.raises(ValueError, match="sentencepiece encodes 'Hello world' otherwise"):
        SentenceBPE.from_model(path)


@pytest.mark.parametrize("cut", ["none", "text", "half"])
def test_a_damaged_or_missing_model_is_refused(tmp_path, cut):
    path: Path = tmp_path / "tokenizer.model"
    with pytest.raises(FileNotFoundError, match="no SentencePiece model at"):
        SentenceBPE.from_model(path)
    whole = train(sentences(50), 380)
    path.write_bytes({"none": b"", "text": b"hello\n" * 50, "half": whole[: len(whole) // 2]}[cut])
    with pytest.raises(ValueError, match="is damaged or no SentencePiece model"):
        SentenceBPE.from_model(path)
