"""Tokenizers: CLIP's byte-level BPE, and LLaMA's SentencePiece BPE with byte fallback."""

from __future__ import annotations

from pathlib import Path

from vlcourse.tokenizers import sentence_bpe
from vlcourse.tokenizers.byte_bpe import TOY_VOCAB as TOY_VOCAB
from vlcourse.tokenizers.byte_bpe import ByteBPE as ByteBPE
from vlcourse.tokenizers.byte_bpe import FastBPE as FastBPE
from vlcourse.tokenizers.byte_bpe import clip as clip
from vlcourse.tokenizers.byte_bpe import toy as toy
from vlcourse.tokenizers.sentence_bpe import FastSentenceBPE, SentenceBPE


def llama(path: str | Path | None = None) -> SentenceBPE:
    """LLaMA's tokenizer from its ``tokenizer.model``; without a path the toy language model's.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no tokenizer.model of LLaMA's kind.
    """
    return sentence_bpe.toy() if path is None else FastSentenceBPE.from_model(path)
