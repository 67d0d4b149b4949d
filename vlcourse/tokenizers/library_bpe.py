"""LLaMA-3's tokenizer, byte-level BPE, run by the library ``tokenizers``.

Grattafiori et al. 2024 (Llama 3), section 3.2. Its file is a ``tokenizer.json``, or a
``tokenizer.model`` in the format of tiktoken: a token's bytes in base64 and its rank on each line.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import regex
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from vlcourse.tokenizers import files
from vlcourse.tokenizers.byte_bpe import byte_symbols
from vlcourse.tokenizers.files import NoSuchId, TokenizerError

# How LLaMA-3 cuts a text into words, before anything is merged; a number has up to three digits.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# LLaMA-3.1's and 3.2's 256 control tokens, in the order of the ids, after all others.
NAMED = (
    "begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1",
    "finetune_right_pad_id", "reserved_special_token_2", "start_header_id", "end_header_id",
    "eom_id", "eot_id", "python_tag",
)  # fmt: skip
CONTROL = tuple(
    f"<|{name}|>" for name in (*NAMED, *(f"reserved_special_token_{i}" for i in range(3, 248)))
)
STARTS, ENDS = ("<|begin_of_text|>", "<s>"), ("<|end_of_text|>", "</s>")
_LINE = regex.compile(rb"([A-Za-z0-9+/]+={0,2}) (\d{1,9})")


class LibraryBPE:
    """A tokenizer of the library ``tokenizers``, used as `SentenceBPE` is.

    Args:
        tokenizer: theirs.

    Attributes:
        ids: the id of each token, by the name of a control token such as "<|eot_id|>" too.
        bos, eos: the ids of the text's start and end.

    Raises:
        TokenizerError: when it has no start or no end of text that LLaMA's tokenizers have.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # a text cannot forge control tokens
        self.ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self.bos, self.eos = self._first(STARTS), self._first(ENDS)
        self.vocab_size = max(self.ids.values()) + 1
        # An id of a letter: a continuation is decoded after it.
        self._before = self._tokenizer.encode("a", add_special_tokens=False).ids

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._tokenizer,)

    def _first(self, names: tuple[str, ...]) -> int:
        for name in names:
            if name in self.ids:
                return self.ids[name]
        raise TokenizerError(f"it has none of the tokens {', '.join(names)} that LLaMA's have")

    def piece(self, i: int) -> str:
        """One id's token, its bytes written as characters.

        Raises:
            NoSuchId: when there is no such id.
        """
        token = self._tokenizer.id_to_token(i) if 0 <= i < self.vocab_size else None
        if token is None:
            raise NoSuchId(f"no token has the id {i}: the ids are 0 to {self.vocab_size - 1}")
        return token

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """A text's ids.

        Args:
            text: any text; control tokens written in it ("<|eot_id|>") are ordinary characters.
            bos: put the id of the text's start first.
            eos: put the id of the text's end last.

        Raises:
            TokenizerError: for a text with half a character (a lone surrogate).
        """
        try:
            ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        except (UnicodeEncodeError, TypeError):
            raise TokenizerError(f"{text!r:.60} is no text that UTF-8 can write") from None
        return [self.bos] * bos + ids + [self.eos] * eos

    def decode(self, ids: Iterable[int], continued: bool = False) -> str:
        """The text of some ids, without control tokens. Bytes that are no UTF-8 become U+FFFD.

        Args:
            ids: the ids.
            continued: they go on from other text: a space before the first word stays.

        Raises:
            NoSuchId: when there is no such id.
        """
        several = list(ids)
        for i in several:
            self.piece(i)
        if not continued:
            return self._tokenizer.decode(several)
        before = self._tokenizer.decode(self._before)
        return self._tokenizer.decode([*self._before, *several])[len(before) :]

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read a ``tokenizer.json``.

        Raises:
            MissingTokenizer: when there is no such file.
            TokenizerError: when it is damaged, or no tokenizer of a LLaMA.
        """
        raw = files.read(path, "tokenizer.json")
        try:
            tokenizer = Tokenizer.from_buffer(raw)
        except Exception as error:  # the library has no narrower one
            raise TokenizerError(f"{path} is no tokenizer.json: {error!s:.200}") from None
        try:
            return cls(tokenizer)
        except TokenizerError as error:
            raise TokenizerError(f"{path} is not a tokenizer like LLaMA's: {error}") from None

    @classmethod
    def from_ranks(cls, path: str | Path) -> Self:
        """Read LLaMA-3's ``tokenizer.model``, which is in the format of tiktoken.

        Raises:
            MissingTokenizer: when there is no such file.
            TokenizerError: at a line that is not a token and its rank; when a byte is missing.
        """
        ranks: dict[bytes, int] = {}
        for number, line in enumerate(files.read(path, "tokenizer.model").splitlines(), 1):
            token = _token(line, len(ranks))
            if not token or token in ranks:
                raise TokenizerError(
                    f"{path}, line {number}: expected a new token in base64 and its rank "
                    f"{len(ranks)}, got {line[:60]!r}"
                )
            ranks[token] = len(ranks)
        if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
            said = f"{path} has no token for the byte {missing[0]:#04x}"
            raise TokenizerError(f"{said}: it is cut off, or another file")
        return cls(_byte_level(ranks))


def is_ranks(raw: bytes) -> bool:
    """Whether a file begins as tiktoken's format does."""
    return _LINE.fullmatch(raw.split(b"\n", 1)[0].rstrip(b"\r")) is not None


def _token(line: bytes, rank: int) -> bytes | None:
    """The token of a line, or None when it is none of this rank."""
    match = _LINE.fullmatch(line)
    if match is None or int(match[2]) != rank:
        return None
    try:
        return base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None


def _byte_level(ranks: dict[bytes, int]) -> Tokenizer:
    """The ranks as a model of the library, with LLaMA-3's words and control tokens.

    tiktoken joins the pair of neighbours that makes the token of the lowest rank. The library wants
    the pairs in order: for each token, in the order of the ranks, all that make it.
    """
    table = byte_symbols()
    names = {token: "".join(table[byte] for byte in token) for token in ranks}
    merges = []
    for token in ranks:
        cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [(a, b) for a, b in cuts if a in ranks and b in ranks]
        merges += [(names[a], names[b]) for a, b in sorted(known, key=lambda p: ranks[p[0]])]
    vocabulary = {names[token]: rank for token, rank in ranks.items()}
    # A word that is a token is taken as it is, as by tiktoken.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in CONTROL]
    )
    return tokenizer
