"""Tokenizers: CLIP's byte-level BPE, LLaMA's SentencePiece BPE, and LLaMA-3's byte-level one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from vlcourse.tokenizers import files, sentence_bpe
from vlcourse.tokenizers.byte_bpe import TOY_VOCAB as TOY_VOCAB
from vlcourse.tokenizers.byte_bpe import ByteBPE as ByteBPE
from vlcourse.tokenizers.byte_bpe import FastBPE as FastBPE
from vlcourse.tokenizers.byte_bpe import clip as clip
from vlcourse.tokenizers.byte_bpe import toy as toy
from vlcourse.tokenizers.files import TokenizerError as TokenizerError
from vlcourse.tokenizers.library_bpe import LibraryBPE, is_ranks
from vlcourse.tokenizers.sentence_bpe import FastSentenceBPE


class TextTokenizer(Protocol):
    """What language models are trained and write with: `SentenceBPE` or `LibraryBPE`."""

    bos: int
    eos: int

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        ...

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """A text's ids, with the start's before and the end's after it on request."""
        ...

    def decode(self, ids: list[int], continued: bool = False) -> str:
        """The text of some ids; ``continued``: with the space before its first word."""
        ...

    def piece(self, i: int) -> str:
        """One id's piece."""
        ...


FILES = (
    "tokenizer.model",
    "tokenizer.json",
)  # what a folder of LLaMA's weights has, or one of both


def llama(path: str | Path | None = None) -> TextTokenizer:
    """LLaMA's tokenizer from its file; without a path the toy language model's.

    The file, or its folder, is the ``tokenizer.model`` of LLaMA and LLaMA-2 (SentencePiece), that
    of LLaMA-3 (in tiktoken's format), or a ``tokenizer.json`` of either.

    Raises:
        MissingTokenizer: when there is no such file.
        TokenizerError: when it is damaged, a Git LFS pointer, or no tokenizer of LLaMA's kind.
    """
    if path is None:
        return sentence_bpe.toy()
    if os.path.isdir(path):
        found = [name for name in FILES if os.path.isfile(Path(path) / name)]
        path = Path(path) / (found or FILES)[0]
    raw = files.read(path, "LLaMA tokenizer")
    if raw.lstrip()[:1] == b"{":
        return LibraryBPE.from_json(path)
    return LibraryBPE.from_ranks(path) if is_ranks(raw) else FastSentenceBPE.from_model(path)
