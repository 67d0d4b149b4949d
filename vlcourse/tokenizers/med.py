"""What BLIP's text model reads, ``[CLS] w … [SEP]``, in the toy world's words or in BERT's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from vlcourse.tokenizers import bert, byte_bpe
from vlcourse.tokenizers.files import TokenizerError


class Words(Protocol):
    """The words themselves: `FastBPE` or `WordPiece`."""

    def encode(self, text: str) -> list[int]:
        """A text's ids, without what stands around it."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids."""
        ...


@dataclass(frozen=True)
class MEDTokenizer:
    """Text ↔ ids for a `MED`; both kinds look alike."""

    words: Words
    """Turns words into ids and back."""
    cls: int
    """[CLS], which begins a text."""
    sep: int
    """[SEP], which ends it."""
    pad: int
    """[PAD], which nobody attends to; the mask tells it from text."""
    enc: int
    """[ENC], in the place of [CLS] where a text is read beside an image."""
    dec: int
    """[DEC], in the place of [CLS] where a text is written."""
    vocab_size: int
    """Number of ids, [ENC] and [DEC] included."""

    def encode(self, text: str) -> list[int]:
        """A text's ids, without [CLS] and [SEP]."""
        return self.words.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids up to its [SEP], without what begins it.

        Raises:
            NoSuchId: when there is no such id.
        """
        kept = []
        for i in ids:
            if i == self.sep:
                break
            if i not in (self.cls, self.enc, self.dec):
                kept.append(i)
        return self.words.decode(kept)

    def __call__(
        self, texts: str | Sequence[str], context: int = 512, truncate: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Tokenize a batch.

        Args:
            texts: one text or several.
            context: most tokens a text may have, [CLS] and [SEP] included.
            truncate: cut longer texts (their [SEP] is kept) instead of refusing them.

        Returns:
            (B, L) int64 ids, padded on the right to the longest, and their (B, L) bool mask, True
            for text.

        Raises:
            TokenizerError: when a text is longer than ``context`` and ``truncate`` is False.
        """
        rows = []
        for text in [texts] if isinstance(texts, str) else texts:
            row = [self.cls, *self.encode(text), self.sep]
            if len(row) > context:
                if not truncate:
                    raise TokenizerError(
                        f"a text of {len(row)} tokens does not fit the context of {context}: "
                        f"{text[:60]!r}…; shorten it or pass truncate=True"
                    )
                row = [*row[: context - 1], self.sep]
            rows.append(row)
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        tokens = torch.tensor([[*row, *[self.pad] * (width - len(row))] for row in rows])
        return tokens, torch.arange(width) < lengths[:, None]


@lru_cache(maxsize=1)
def toy() -> MEDTokenizer:
    """The toy world's: 721 ids, of which start and end of text are [CLS] and [SEP], and two more.

    Its id 0, the pad, is a word too: only the mask tells.
    """
    words = byte_bpe.toy()
    n = words.vocab_size
    return MEDTokenizer(words, words.start, words.end, pad=0, enc=n, dec=n + 1, vocab_size=n + 2)


def real(path: str | Path | None = None) -> MEDTokenizer:
    """BERT's, with [DEC] and [ENC] added as its ids 30522 and 30523 (salesforce/BLIP).

    Args:
        path: as in :func:`vlcourse.tokenizers.bert.find`.

    Raises:
        MissingTokenizer: when there is no such file on this machine.
        TokenizerError: when it is damaged or another one.
    """
    return _real(bert.find(path))


@lru_cache(maxsize=1)
def _real(path: Path) -> MEDTokenizer:
    words = bert.WordPiece(path)
    ids, n = words.ids, words.vocab_size
    if "[ENC]" in ids or "[DEC]" in ids:
        raise TokenizerError(f"{path} has BLIP's tokens in it; give BERT's own, without them")
    return MEDTokenizer(
        words, ids["[CLS]"], ids["[SEP]"], ids["[PAD]"], enc=n + 1, dec=n, vocab_size=n + 2
    )
