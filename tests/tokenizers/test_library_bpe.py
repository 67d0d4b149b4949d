"""LLaMA-3's tokenizer: tiktoken's format and tokenizer.json, against plain merging by ranks."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from vlcourse import tokenizers
from vlcourse.tokenizers import TokenizerError
from vlcourse.tokenizers.library_bpe import CONTROL, WORDS, LibraryBPE

TEXT = (
    "the low lower lowest newest widest; it's 2024, 12345 and 3.5! don't naïve 草莓草莓 🍓🍓  "
    "def f(x):\n    return x\n\n\n the the LOWER they're we'll  \r\n"
)


def learned(merges: int = 60) -> dict[bytes, int]:
    """Bytes, and tokens learned from TEXT: the most frequent pair of neighbours again and again."""
    ranks = {bytes([b]): b for b in range(256)}
    words = [[bytes([b]) for b in word.encode()] for word in regex.findall(WORDS, TEXT)]
    while len(ranks) < 256 + merges:
        pairs = [w[i] + w[i + 1] for w in words for i in range(len(w) - 1)]
        best = max(sorted(set(pairs)), key=pairs.count)
        ranks[best] = len(ranks)
        words = [merged(word, {best: 0}) for word in words]
    return ranks


def merged(word: list[bytes], ranks: dict[bytes, int]) -> list[bytes]:
    """Join the neighbours that make the token of the lowest rank, the leftmost first."""
    while True:
        made = [a + b for a, b in zip(word, word[1:], strict=False)]
        known = [(ranks[token], i) for i, token in enumerate(made) if token in ranks]
        if not known:
            return word
        i = min(known)[1]
        word = [*word[:i], made[i], *word[i + 2 :]]


RANKS = learned()


def plain(text: str) -> list[int]:
    """The ids as tiktoken gives them."""
    ids = []
    for word in regex.findall(WORDS, text):
        raw = word.encode()
        whole = [raw] if raw in RANKS else merged([bytes([b]) for b in raw], RANKS)
        ids += [RANKS[token] for token in whole]
    return ids


def write(path: Path, ranks: dict[bytes, int]) -> Path:
    path.write_bytes(b"".join(b"%s %d\n" % (base64.b64encode(t), r) for t, r in ranks.items()))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("llama-3")
    write(path / "tokenizer.model", RANKS)
    return path


@pytest.fixture(scope="module")
def llama(folder: Path) -> LibraryBPE:
    tokenizer = tokenizers.llama(folder)
    assert isinstance(tokenizer, LibraryBPE)
    return tokenizer


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.one_of(st.text(max_size=40), st.text(st.sampled_from("thelowr's 12\n草🍓"), max_size=40)))
def test_it_is_merging_by_ranks(llama: LibraryBPE, text: str) -> None:
    ids = llama.encode(text)
    assert ids == plain(text)
    assert llama.decode(ids) == text
    assert llama.decode(llama.encode(text, bos=True, eos=True)) == text


def test_the_control_tokens_are_llama_3_s(llama: LibraryBPE) -> None:
    base = len(RANKS)
    assert len(CONTROL) == 256 and llama.vocab_size == base + 256
    for name, offset in (
        ("begin_of_text", 0), ("end_of_text", 1), ("finetune_right_pad_id", 4),
        ("start_header_id", 6), ("end_header_id", 7), ("eom_id", 8), ("eot_id", 9),
        ("python_tag", 10), ("reserved_special_token_3", 11), ("reserved_special_token_247", 255),
    ):  # fmt: skip
        assert llama.ids[f"<|{name}|>"] == base + offset  # LLaMA-3: 128,000 + offset
    assert (llama.bos, llama.eos) == (base, base + 1)
    low = llama.encode("low")
    assert llama.encode("low", bos=True, eos=True) == [llama.bos, *low, llama.eos]
    assert llama.bos not in llama.encode("<|begin_of_text|>")  # a text cannot forge it
    assert llama.decode(llama.encode("<|eot_id|>")) == "<|eot_id|>"
    assert llama.piece(llama.eos) == "<|end_of_text|>"
    assert llama.encode("12345") == plain("123") + plain("45")


def test_a_continuation_and_ids_that_are_none(llama: LibraryBPE) -> None:
    ids = llama.encode("the low lower")
    for n in range(len(ids)):
        assert llama.decode(ids[:n]) + llama.decode(ids[n:], continued=True) == "the low lower"
    for wrong in (-1, llama.vocab_size):
        with pytest.raises(TokenizerError, match=f"no token has the id {wrong}: the ids are 0 to"):
            llama.decode([5, wrong])
    with pytest.raises(TokenizerError, match="no text that UTF-8 can write"):
        llama.encode("a\ud800")


def test_a_tokenizer_json_is_read_as_well(llama: LibraryBPE, tmp_path: Path) -> None:
    llama._tokenizer.save(str(tmp_path / "tokenizer.json"))
    for again in (tokenizers.llama(tmp_path), pickle.loads(pickle.dumps(llama))):
        assert isinstance(again, LibraryBPE)
        assert again.encode(TEXT + "<|eot_id|>") == llama.encode(TEXT + "<|eot_id|>") != []
        assert (again.bos, again.eos, again.vocab_size) == (llama.bos, llama.eos, llama.vocab_size)


def test_what_is_no_tokenizer_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    with pytest.raises(TokenizerError, match="there is no LLaMA tokenizer at"):
        tokenizers.llama(path)
    with pytest.raises(TokenizerError, match=r"tokenizer\.model"):
        tokenizers.llama(tmp_path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 499723\n")
    with pytest.raises(TokenizerError, match="is a Git LFS pointer.*git lfs pull"):
        tokenizers.llama(path)
    lines = (folder / "tokenizer.model").read_bytes().splitlines(keepends=True)
    for number, line in ((9, b"!!! 8\n"), (9, b"AA== 8\n"), (300, b"dGhl 7\n"), (300, b"\n")):
        path.write_bytes(b"".join([*lines[: number - 1], line, *lines[number:]]))
        with pytest.raises(TokenizerError, match=f"line {number}: expected a new token in base64"):
            tokenizers.llama(path)
    path.write_bytes(b"".join(lines[:200]))
    with pytest.raises(TokenizerError, match="no token for the byte 0xc8"):
        tokenizers.llama(path)
    path.write_text('{"model": {}}')
    with pytest.raises(TokenizerError, match=r"is no tokenizer\.json"):
        tokenizers.llama(path)
    path.write_text(
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": []}'
    )
    with pytest.raises(TokenizerError, match="none of the tokens <|begin_of_text|>, <s>"):
        tokenizers.llama(path)


def test_llama_2_s_tokenizer_json_is_its_tokenizer_model(tmp_path: Path) -> None:
    """A tokenizer.json of the SentencePiece kind: the first space, and a continuation's."""
    from tokenizers import AddedToken, decoders, models, normalizers

    words = ["▁", "a", "b", "ab", "▁ab", *(f"<0x{i:02X}>" for i in range(256))]
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *words])}
    model = models.BPE(vocabulary, [("a", "b"), ("▁", "ab")], unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = tokenizers.llama(tmp_path)
    assert (ours.bos, ours.eos, ours.vocab_size) == (1, 2, len(vocabulary))
    ids = ours.encode("ab ab", bos=True)
    assert ids == [1, vocabulary["▁ab"], vocabulary["▁ab"]]
    assert ours.decode(ids) == "ab ab"
    assert ours.decode(ids[2:]) == "ab" and ours.decode(ids[2:], continued=True) == " ab"
