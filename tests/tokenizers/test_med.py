"""MED's tokenizers: BERT's WordPiece against transformers' on one file, and the toy world's."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from vlcourse import tokenizers
from vlcourse.tokenizers import TokenizerError, bert, med
from vlcourse.tokenizers.files import MissingTokenizer, NoSuchId

PIECES = (
    "[PAD] [unused0] [UNK] [CLS] [SEP] [MASK] ! ' , - . ? [ ] a b c d e l n o r s t u cls the cat "
    "cafe sat on mat red ##s ##t ##ed ##ing play un ##known it don 草 莓 20 ##24 sep"
).split()
TEXTS = [
    "The cat sat, on the mat!", "it's played", "Café  RED\n\tcats", "unknown wörds", "草莓 2024",
    "", "don't un-known", "a" * 120, "�\x00\x07cat", "naïve?",
]  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bert") / "vocab.txt"
    file.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def theirs(vocabulary: Path):
    from transformers import BertTokenizer

    return BertTokenizer(str(vocabulary))


def check_against(theirs, ours: med.MEDTokenizer, texts: list[str], context: int) -> None:
    expected = theirs(
        texts, padding="longest", truncation=True, max_length=context, return_tensors="pt"
    )
    tokens, mask = ours(texts, context, truncate=True)
    assert torch.equal(tokens, expected["input_ids"])
    assert torch.equal(mask, expected["attention_mask"].bool())


@pytest.mark.parametrize("context", [64, 5, 2])
def test_tokens_and_mask_are_berts(vocabulary: Path, theirs, context: int) -> None:
    ours = med.real(vocabulary)
    check_against(theirs, ours, TEXTS, context)
    check_against(theirs, ours, ["cat"], context)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.lists(st.text("abcdeorst '-.?,A[]É草2\n", max_size=30), min_size=1, max_size=3))
def test_any_texts_tokens_are_berts(vocabulary: Path, theirs, texts: list[str]) -> None:
    check_against(theirs, med.real(vocabulary), texts, 20)


def test_decoding_is_berts(vocabulary: Path, theirs) -> None:
    ours = med.real(vocabulary)
    for text in ("the cat sat, on the mat!", "it's played.", "don't"):
        tokens, _ = ours(text)
        row = tokens[0].tolist()
        plain = theirs.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=True)
        assert ours.decode(row) == text == plain
        written = [ours.dec, *row[1:], ours.pad, row[1]]  # nothing counts after [SEP]
        assert ours.decode(written) == text
    with pytest.raises(NoSuchId, match="no token has the id 1000"):
        ours.decode([1000])


def test_two_ids_are_added_and_none_can_be_forged(vocabulary: Path) -> None:
    ours = med.real(vocabulary)
    n = len(PIECES)
    assert (ours.pad, ours.cls, ours.sep) == (0, 3, 4)
    assert (ours.dec, ours.enc, ours.vocab_size) == (n, n + 1, n + 2)
    forged = ours.encode("[SEP] cat [CLS] [ENC]")
    assert not {ours.sep, ours.cls, ours.enc} & set(forged)
    assert ours.decode(ours.encode("[sep] cat")) == "[ sep ] cat"


def test_the_two_kinds_of_file_agree(vocabulary: Path, tmp_path: Path) -> None:
    ours = bert.WordPiece(vocabulary)
    ours._tokenizer.save(str(tmp_path / "tokenizer.json"))
    other = bert.WordPiece(bert.find(tmp_path))
    assert other.ids == ours.ids
    assert all(other.encode(text) == ours.encode(text) for text in TEXTS)
    again = pickle.loads(pickle.dumps(med.real(vocabulary)))
    assert again.encode("the cats") == ours.encode("the cats")


def test_where_the_vocabulary_is_looked_for(
    vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLCOURSE_BERT_VOCAB", raising=False)
    monkeypatch.setattr(bert.paths, "find_data", lambda name: None)
    monkeypatch.setattr(bert, "try_to_load_from_cache", lambda repository, name: None)
    with pytest.raises(MissingTokenizer, match="set VLCOURSE_BERT_VOCAB to its path") as missing:
        bert.find()
    assert "\n" not in str(missing.value)
    cached = {("google-bert/bert-base-uncased", "vocab.txt"): str(vocabulary)}
    monkeypatch.setattr(bert, "try_to_load_from_cache", lambda *key: cached.get(key))
    assert bert.find() == vocabulary
    folder = tmp_path / "bert-base-uncased"
    folder.mkdir()
    (folder / "vocab.txt").write_text("x")
    monkeypatch.setattr(bert.paths, "find_data", lambda name: folder)
    assert bert.find() == folder / "vocab.txt"
    monkeypatch.setenv("VLCOURSE_BERT_VOCAB", str(vocabulary.parent))
    assert bert.find() == vocabulary
    assert bert.find(folder / "vocab.txt") == folder / "vocab.txt"
    with pytest.raises(MissingTokenizer, match="no BERT vocabulary at"):
        bert.find(tmp_path / "nowhere")


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    for content, message in (
        (b"[PAD]\n[UNK]\n[CLS]\n", r"it has no \[SEP\]"),
        (b"[PAD]\n[UNK]\n\n[SEP]\n", "line 3: expected a new piece"),
        (b"[PAD]\n[PAD]\n", "line 2: expected a new piece"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"version": 1', "is no tokenizer.json"),
        (Tokenizer(models.BPE()).to_str().encode(), "it is no WordPiece"),
        ("\n".join([*PIECES, "[DEC]", "[ENC]"]).encode(), "has BLIP's tokens in it"),
    ):
        file.write_bytes(content)
        med._real.cache_clear()
        with pytest.raises(TokenizerError, match=message):
            med.real(file)


def test_the_toy_words_look_alike() -> None:
    toy, clips = med.toy(), tokenizers.toy()
    texts = ["a red circle!", "two blue squares"]
    tokens, mask = toy(texts)
    assert torch.equal(tokens, clips(texts))
    assert mask.sum(1).tolist() == [2 + len(clips.encode(text)) for text in texts]
    assert (toy.cls, toy.sep, toy.enc, toy.dec, toy.vocab_size) == (719, 720, 721, 722, 723)
    assert toy.decode([toy.dec, *tokens[0, 1:].tolist(), toy.pad]) == "a red circle !"
    with pytest.raises(TokenizerError, match="does not fit the context of 3"):
        toy(texts, 3)
    cut, mask = toy(texts, 3, truncate=True)
    assert cut.shape == (2, 3) and cut[:, -1].tolist() == [720, 720] and bool(mask.all())
