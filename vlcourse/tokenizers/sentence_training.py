"""Learn a SentencePiece vocabulary by byte-pair encoding, as SentencePiece's own trainer does.

Kudo and Richardson 2018 (SentencePiece), Sennrich et al. 2016 (BPE).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Literal, NamedTuple

import regex

from vlcourse.tokenizers.byte_bpe import merge
from vlcourse.tokenizers.files import TokenizerError

MARK = "▁"  # U+2581, stands for a space
LONGEST = 16  # characters in a learned piece, SentencePiece's default

Kind = Literal["normal", "unknown", "control", "byte"]


class Piece(NamedTuple):
    """One entry of the vocabulary: its text, its score (best = merged first) and its kind."""

    text: str
    score: float = 0.0
    kind: Kind = "normal"


# What stands first in LLaMA's vocabulary: ids 0, 1, 2, then the bytes as ids 3 to 258.
SPECIAL = (
    Piece("<unk>", kind="unknown"),
    Piece("<s>", kind="control"),
    Piece("</s>", kind="control"),
    *(Piece(f"<0x{byte:02X}>", kind="byte") for byte in range(256)),
)

_DIGITS = "0-9０-９"
_SCRIPTS = [r"\p{Han}\p{Hiragana}\p{Katakana}ー"]  # SentencePiece takes these as one script
_SCRIPTS += [rf"\p{{{name}}}" for name in ("Latin", "Greek", "Cyrillic", "Hebrew", "Arabic")]
_SCRIPTS += [rf"\p{{{name}}}" for name in ("Devanagari", "Bengali", "Thai", "Hangul", "Inherited")]
_OTHERS = f"[^{MARK}{_DIGITS}{''.join(_SCRIPTS)}]"
_RUN = regex.compile(
    "|".join([f"[{_DIGITS}]", *(f"{MARK}?[{s}]+" for s in _SCRIPTS), f"{MARK}?{_OTHERS}+", MARK])
)


def mark(text: str) -> str:
    """The text with a space before it (the dummy prefix) and ▁ for each space; "" stays ""."""
    return (" " + text).replace(" ", MARK) if text else ""


def split_runs(marked: str) -> list[str]:
    """The parts of a marked text that no learned piece crosses.

    A word begins with its ▁; inside it, each digit stands alone, and letters of one script are
    apart from punctuation and from other scripts (the dozen most used are told apart; all other
    characters count as punctuation).
    """
    return _RUN.findall(marked)


def count_pairs(words: dict[tuple[str, ...], int]) -> Counter[tuple[str, str]]:
    """How often each pair of neighbouring symbols stands in the words ("aaa" holds a, a twice)."""
    pairs: Counter[tuple[str, str]] = Counter()
    for symbols, count in words.items():
        for pair in zip(symbols, symbols[1:], strict=False):
            pairs[pair] += count
    return pairs


def train_sentence_bpe(texts: Iterable[str], vocab_size: int) -> list[Piece]:
    """Learn a vocabulary: again and again join the most frequent pair of neighbouring symbols.

    Ties go to the shorter piece, then to the one that sorts first, as in SentencePiece's trainer.
    The result does not depend on the texts' order. It has fewer than ``vocab_size`` pieces when
    no pair is left: SentencePiece would then add pieces that it met but that no text needs.
    Each merge looks at every distinct word: seconds for hundreds of words, minutes for thousands.

    Args:
        texts: the corpus; consecutive spaces are kept.
        vocab_size: how many pieces at most, the 259 special ones and the alphabet included.

    Returns:
        The special pieces, the merged ones in the order they were learned, and the single
        characters, the most frequent first. The scores of the last two are 0, -1, -2, …

    Raises:
        TokenizerError: when the special pieces and the alphabet alone need more than
            ``vocab_size``.
    """
    counts = Counter(run for text in texts for run in split_runs(mark(text)))
    alphabet: Counter[str] = Counter()
    for run, count in counts.items():
        for character in run:
            alphabet[character] += count
    least = len(SPECIAL) + len(alphabet)
    if vocab_size < least:
        raise TokenizerError(
            f"a vocabulary of {vocab_size} pieces cannot hold {len(SPECIAL)} special pieces and "
            f"the corpus's {len(alphabet)} characters; ask for at least {least}"
        )
    words = {tuple(run): count for run, count in counts.items() if len(run) > 1}
    learned: dict[str, None] = {}
    while len(learned) < vocab_size - least:
        pairs = count_pairs(words)
        short = [(a, b) for a, b in pairs if len(a + b) <= LONGEST]
        if not short:
            break
        a, b = min(short, key=lambda p: (-pairs[p], len(p[0] + p[1]), p[0] + p[1], p))
        learned[a + b] = None
        merged = ((merge(symbols, (a, b)), count) for symbols, count in words.items())
        words = {symbols: count for symbols, count in merged if len(symbols) > 1}
    characters = sorted(alphabet, key=lambda c: (-alphabet[c], c))
    texts_in_order = chain(learned, characters)
    return [*SPECIAL, *(Piece(text, float(-i)) for i, text in enumerate(texts_in_order))]
