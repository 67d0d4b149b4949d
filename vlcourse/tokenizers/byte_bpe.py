"""Byte-level byte-pair encoding as CLIP uses it: train, encode, decode (Sennrich et al. 2016)."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Self

import ftfy
import regex
import torch
from tokenizers.models import BPE
from torch import Tensor

from vlcourse import paths
from vlcourse.tokenizers import clip_merges, files
from vlcourse.tokenizers.files import NoSuchId, TokenizerError

END_OF_WORD = "</w>"
START, END = "<start_of_text>", "<end_of_text>"
_WORD = regex.compile(
    r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)


@lru_cache(maxsize=1)
def byte_symbols() -> dict[int, str]:
    """Each byte as one printable character, in CLIP's (GPT-2's) order of the vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in symbols:
            symbols[byte] = chr(256 + len(symbols) - len(printable))
    return symbols


def clean(text: str) -> str:
    """Mend broken unicode and HTML entities, collapse white space, lower the case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return regex.sub(r"\s+", " ", text).strip().lower()


def split_words(text: str) -> list[str]:
    """A cleaned text's words, single digits and runs of punctuation, in order."""
    return _WORD.findall(text)


def _symbols(word: str) -> tuple[str, ...]:
    """A word's bytes as symbols, the last one marked as the word's end."""
    table = byte_symbols()
    symbols = [table[byte] for byte in word.encode("utf-8")]
    return (*symbols[:-1], symbols[-1] + END_OF_WORD)


def merge(symbols: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    """Replace each occurrence of ``pair``, from left to right, by its concatenation."""
    merged: list[str] = []
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return tuple(merged)


def train_bpe(texts: Iterable[str], merges: int) -> list[tuple[str, str]]:
    """Learn merges: again and again join the most frequent pair of neighbouring symbols.

    Ties go to the pair that sorts first, so the result does not depend on the texts' order.

    Args:
        texts: the corpus; each text is cleaned and split first.
        merges: how many merges to learn at most; it stops early when every word is one symbol.

    Returns:
        The merges, most frequent first.
    """
    counts = Counter(word for text in texts for word in split_words(clean(text)))
    words = {_symbols(word): count for word, count in counts.items()}
    learned: list[tuple[str, str]] = []
    while len(learned) < merges:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, count in words.items():
            for pair in zip(symbols, symbols[1:], strict=False):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        learned.append(best)
        words = {merge(symbols, best): count for symbols, count in words.items()}
    return learned


class ByteBPE:
    """CLIP's tokenizer over any list of merges.

    The vocabulary is, in this order: 256 bytes, 256 bytes that end a word, one token a merge, the
    start of text, the end of text (the largest id, by which the text tower finds it).
    """

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        symbols = list(byte_symbols().values())
        tokens = [*symbols, *(s + END_OF_WORD for s in symbols), *(a + b for a, b in merges)]
        tokens += [START, END]
        self.merges = [(a, b) for a, b in merges]
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.tokens = tokens
        self.ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self.start, self.end = len(tokens) - 2, len(tokens) - 1
        self._bytes = {symbol: byte for byte, symbol in byte_symbols().items()}
        self._cache: dict[str, list[int]] = {START: [self.start], END: [self.end]}

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self.tokens)

    def _word_ids(self, word: str) -> list[int]:
        """One word's ids: apply the earliest-learned merge until none applies."""
        if word not in self._cache:
            symbols = _symbols(word)
            while len(symbols) > 1:
                pairs = set(zip(symbols, symbols[1:], strict=False))
                best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
                if best not in self.ranks:
                    break
                symbols = merge(symbols, best)
            self._cache[word] = [self.ids[s] for s in symbols]
        return self._cache[word]

    def encode(self, text: str) -> list[int]:
        """A text's ids, without start and end of text."""
        return [i for word in split_words(clean(text)) for i in self._word_ids(word)]

    def decode(self, ids: Iterable[int]) -> str:
        """The (cleaned) text of some ids; start and end of text are left out.

        Raises:
            NoSuchId: when there is no such id.
        """
        several = list(ids)
        if wrong := [i for i in several if not 0 <= i < self.vocab_size]:
            raise NoSuchId(f"no token has the id {wrong[0]}: the ids are 0 to {self.end}")
        kept = [self.tokens[i] for i in several if i not in (self.start, self.end)]
        text = "".join(kept).replace(END_OF_WORD, "\0")
        raw = b"".join(b" " if c == "\0" else bytes([self._bytes[c]]) for c in text)
        return raw.decode("utf-8", errors="replace").strip()

    def __call__(
        self,
        texts: str | Sequence[str],
        context: int = 77,
        truncate: bool = False,
        pad_to: int | None = None,
    ) -> Tensor:
        """Tokenize a batch.

        Args:
            texts: one text or several.
            context: most tokens a text may have, start and end of text included.
            truncate: cut longer texts (the end-of-text token is kept) instead of refusing them.
            pad_to: least length of the rows, which are at least as long as the longest text.

        Returns:
            (B, L) int64 ids, padded with 0.

        Raises:
            TokenizerError: when a text is longer than ``context`` and ``truncate`` is False.
        """
        rows = []
        for text in [texts] if isinstance(texts, str) else texts:
            row = [self.start, *self.encode(text), self.end]
            if len(row) > context:
                if not truncate:
                    raise TokenizerError(
                        f"a text of {len(row)} tokens does not fit the context of {context}: "
                        f"{text[:60]!r}…; shorten it or pass truncate=True"
                    )
                row = [*row[: context - 1], self.end]
            rows.append(row)
        width = max([pad_to or 0, *map(len, rows)])
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])

    def save(self, path: str | Path) -> None:
        """Write the merges, one pair a line, atomically."""
        path = Path(path)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(
            "".join(f"{a} {b}\n" for a, b in self.merges), encoding="utf-8", newline="\n"
        )
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            TokenizerError: at a line that is not two symbols, with its number.
        """
        raw = files.read(path, "file of merges")
        try:
            lines = raw.decode("utf-8").splitlines()
        except UnicodeDecodeError:
            raise TokenizerError(f"{path} is no file of merges: it is not UTF-8 text") from None
        merges = []
        for number, line in enumerate(lines, 1):
            pair = line.split(" ")
            if len(pair) != 2 or not all(pair):
                raise TokenizerError(
                    f"{path}, line {number}: expected two symbols, got {line!r:.60}"
                )
            merges.append((pair[0], pair[1]))
        try:
            return cls(merges)
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None


class _Memo(dict[str, list[int]]):
    """What ``function`` says of each key, remembered; emptied when it holds ``limit`` keys."""

    def __init__(self, function: Callable[[str], list[int]], limit: int = 1 << 16) -> None:
        super().__init__()
        self.function, self.limit = function, limit

    def __missing__(self, key: str) -> list[int]:
        if len(self) >= self.limit:
            self.clear()
        value = self[key] = self.function(key)
        return value


class FastBPE(ByteBPE):
    """The same ids as `ByteBPE`, many times faster, for training.

    Three things are faster. Merging is done in Rust, by the library ``tokenizers``. What stands
    between two spaces is encoded once and remembered: no word spans a space. And a text of
    printable ASCII without ``&`` is only lower-cased: there is nothing in it that `clean` mends
    (tests/test_tokenizer_parity.py proves it on random texts).

    Raises:
        TokenizerError: when a merge comes before the ones that make its parts, or makes a token
            that another one makes, as no learned list does: the two ways could then differ.
    """

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        super().__init__(merges)
        made = set(self.tokens[:512])
        for a, b in self.merges:
            if a not in made or b not in made or a + b in made:
                raise TokenizerError(
                    f"the merge {a!r:.60} {b!r:.60} is not one that training learns at this place "
                    "of the list: mend the list, or use ByteBPE"
                )
            made.add(a + b)
        self._model = BPE(vocab=self.ids, merges=self.merges, end_of_word_suffix=END_OF_WORD)
        self._chunks = _Memo(self._chunk_ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.merges,)  # a copy for another process starts with nothing kept

    def _chunk_ids(self, chunk: str) -> list[int]:
        return [i for word in split_words(chunk) for i in self._word_ids(word)]

    def _word_ids(self, word: str) -> list[int]:
        if word in (START, END):
            return [self.ids[word]]
        table = byte_symbols()
        tokens = self._model.tokenize("".join(table[byte] for byte in word.encode("utf-8")))
        return [token.id for token in tokens]

    def encode(self, text: str) -> list[int]:
        """A text's ids, without start and end of text."""
        plain = text.isascii() and text.isprintable() and "&" not in text
        cleaned = text.lower() if plain else clean(text)
        return list(chain.from_iterable(map(self._chunks.__getitem__, cleaned.split(" "))))


TOY_VOCAB = 721  # size of the vocabulary that train_toy() gives


@lru_cache(maxsize=1)
def toy() -> FastBPE:
    """The toy world's tokenizer: merges learned on its captions, shipped with the course."""
    return FastBPE.load(paths.checkpoints_dir() / "tokenizer-toy" / "merges.txt")


def clip(path: str | Path | None = None) -> FastBPE:
    """CLIP's own tokenizer (49,408 ids), from a file of its merges that this machine has.

    Args:
        path: the file; by default the one that ``VLCOURSE_CLIP_BPE`` names, or open_clip's.

    Raises:
        clip_merges.MergesError: when there is none, or it is another file.
    """
    return _clip(clip_merges.find(path))


@lru_cache(maxsize=1)
def _clip(path: Path) -> FastBPE:
    return FastBPE(clip_merges.read(path))
