"""BERT's WordPiece, which BLIP's text model reads: a file that the course does not ship.

Devlin et al. 2019, section 3; Wu et al. 2016, section 4.1. The library ``tokenizers`` runs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from vlcourse import paths
from vlcourse.tokenizers import files
from vlcourse.tokenizers.files import MissingTokenizer, NoSuchId, TokenizerError

NAME = "bert-base-uncased"
FILES = ("vocab.txt", "tokenizer.json")
_REPOSITORIES = (NAME, f"google-bert/{NAME}")


def find(path: str | Path | None = None) -> Path:
    """The file of BERT's vocabulary: a ``vocab.txt`` or a ``tokenizer.json``.

    Args:
        path: the file, or a folder with it; else the one that ``VLCOURSE_BERT_VOCAB`` names; else
            the folder ``bert-base-uncased`` of a data folder; else what a program on this machine
            has got from the hub before.

    Raises:
        MissingTokenizer: when there is none.
    """
    if named := path or os.environ.get("VLCOURSE_BERT_VOCAB"):
        place = Path(named).expanduser()
        found = [place] if place.is_file() else [place / name for name in FILES]
        for file in found:
            if file.is_file():
                return file
        raise MissingTokenizer(
            f"there is no BERT vocabulary at {place}: no {' and no '.join(FILES)}"
        )
    if folder := paths.find_data(NAME):
        found = [Path(folder) / name for name in FILES]
    else:
        cached = (try_to_load_from_cache(r, name) for r in _REPOSITORIES for name in FILES)
        found = [Path(file) for file in cached if isinstance(file, str)]
    for file in found:
        if file.is_file():
            return file
    raise MissingTokenizer(
        "BERT's vocabulary is not shipped with the course: get vocab.txt of google-bert/"
        f"{NAME} and set VLCOURSE_BERT_VOCAB to its path, or put it into a data folder's {NAME}/"
    )


class WordPiece:
    """BERT's uncased tokenizer: the longest known piece first, "##" before what goes on a word.

    Args:
        path: a ``vocab.txt`` or a ``tokenizer.json``.

    Attributes:
        ids: the id of each piece.

    Raises:
        MissingTokenizer: when there is no such file.
        TokenizerError: when it is damaged, or lacks one of BERT's own tokens.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        raw = files.read(path, "BERT vocabulary")
        self._tokenizer = _from_json(raw, path) if raw.lstrip()[:1] == b"{" else _plain(raw, path)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # a text cannot forge control tokens
        self.ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]"):
            if name not in self.ids:
                raise TokenizerError(f"{path} is no vocabulary of BERT's: it has no {name}")
        self._control = {i for name, i in self.ids.items() if name in _CONTROL}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return max(self.ids.values()) + 1

    def encode(self, text: str) -> list[int]:
        """A text's ids, without [CLS] and [SEP]; these words in a text are ordinary characters.

        Raises:
            TokenizerError: for a text with half a character (a lone surrogate).
        """
        try:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        except (UnicodeEncodeError, TypeError):
            raise TokenizerError(f"{text!r:.60} is no text that UTF-8 can write") from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids without control tokens; no space before a comma or "n't".

        Raises:
            NoSuchId: when there is no such id.
        """
        several = list(ids)
        for i in several:
            if i not in range(self.vocab_size) or self._tokenizer.id_to_token(i) is None:
                raise NoSuchId(f"no token has the id {i}: the ids are 0 to {self.vocab_size - 1}")
        text = self._tokenizer.decode([i for i in several if i not in self._control])
        return text.replace(" ' ", "'")  # which the library cannot see: it mends piece by piece


_CONTROL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")


def _plain(raw: bytes, path: str | Path) -> Tokenizer:
    """From a ``vocab.txt``: one piece a line, its number is its id."""
    try:
        pieces = raw.decode("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError:
        raise TokenizerError(f"{path} is no vocabulary of BERT's: it is not UTF-8 text") from None
    ids: dict[str, int] = {}
    for number, piece in enumerate(piece.rstrip("\r") for piece in pieces):
        if not piece or piece in ids:
            raise TokenizerError(
                f"{path}, line {number + 1}: expected a new piece, got {piece[:40]!r}"
            )
        ids[piece] = number
    tokenizer = Tokenizer(models.WordPiece(vocab=ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _from_json(raw: bytes, path: str | Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except Exception as error:  # the library has no narrower one
        raise TokenizerError(f"{path} is no tokenizer.json: {error!s:.200}") from None
    if not isinstance(tokenizer.model, models.WordPiece):
        raise TokenizerError(f"{path} is no vocabulary of BERT's: it is no WordPiece")
    return tokenizer
