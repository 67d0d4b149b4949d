"""LLaMA's tokenizer: SentencePiece byte-pair encoding with byte fallback.

Kudo and Richardson 2018 (SentencePiece), Touvron et al. 2023 (LLaMA), section 2.1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import lru_cache
from math import inf, isfinite
from pathlib import Path
from typing import Any, Self, get_args

from vlcourse import paths
from vlcourse.tokenizers import files, sentence_model
from vlcourse.tokenizers.files import NoSuchId, TokenizerError
from vlcourse.tokenizers.sentence_training import (
    MARK,
    SPECIAL,
    Kind,
    Piece,
    mark,
)

UNKNOWN = " ⁇ "  # how SentencePiece writes the unknown piece


class SentenceBPE:
    """A SentencePiece BPE tokenizer over any vocabulary, with LLaMA's settings.

    Nothing is normalised; spaces are kept. One thing is lost, as in SentencePiece: a ▁ (U+2581)
    in the text comes back as a space.

    Args:
        pieces: the vocabulary, in the order of the ids.

    Raises:
        TokenizerError: when a piece stands twice or is empty, or a special piece is missing.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.pieces = tuple(pieces)
        self.ids: dict[str, int] = {}
        for i, piece in enumerate(self.pieces):
            if not piece.text or piece.text in self.ids:
                fault = f"is already id {self.ids[piece.text]}" if piece.text else "is empty"
                raise TokenizerError(f"id {i}: the piece {piece.text!r:.60} {fault}")
            self.ids[piece.text] = i
        for special in SPECIAL:
            i = self.ids.get(special.text, -1)
            if i < 0 or self.pieces[i].kind != special.kind:
                raise TokenizerError(f"the vocabulary has no {special.kind} piece {special.text!r}")
        self.unk, self.bos, self.eos = (self.ids[piece.text] for piece in SPECIAL[:3])
        self._bytes = [self.ids[piece.text] for piece in SPECIAL[3:]]
        self._scores = {p.text: p.score for p in self.pieces if p.kind == "normal"}
        self._surfaces = [p.text.replace(MARK, " ").encode("utf-8") for p in self.pieces]
        self._surfaces[self.unk] = UNKNOWN.encode("utf-8")
        for byte, i in enumerate(self._bytes):
            self._surfaces[i] = bytes([byte])

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self.pieces)

    def _at(self, i: int) -> Piece:
        if not 0 <= i < len(self.pieces):
            raise NoSuchId(f"no piece has the id {i}: the ids are 0 to {self.vocab_size - 1}")
        return self.pieces[i]

    def piece(self, i: int) -> str:
        """The text of one id's piece.

        Raises:
            NoSuchId: when there is no such id.
        """
        return self._at(i).text

    def _merged(self, marked: str) -> list[str]:
        """Join, as long as one makes a piece, the pair that makes the best one (leftmost first)."""
        symbols = list(marked)
        while len(symbols) > 1:
            pairs = zip(symbols, symbols[1:], strict=False)
            scores = [self._scores.get(a + b, -inf) for a, b in pairs]
            i = scores.index(max(scores))
            if scores[i] == -inf:
                break
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        return symbols

    def _text_ids(self, text: str) -> list[int]:
        """A text's ids; a character that is no piece gives its UTF-8 bytes' pieces."""
        ids: list[int] = []
        for symbol in self._merged(mark(text)):
            if symbol in self._scores:
                ids.append(self.ids[symbol])
            else:
                ids += [self._bytes[byte] for byte in symbol.encode("utf-8")]
        return ids

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """A text's ids.

        Args:
            text: any text; control pieces written in it ("<s>") are ordinary characters.
            bos: put the id of "<s>" first.
            eos: put the id of "</s>" last.

        Raises:
            TokenizerError: for a text with half a character (a lone surrogate).
        """
        try:
            ids = self._text_ids(text)
        except UnicodeEncodeError:
            raise TokenizerError(f"{text!r:.60} is no text that UTF-8 can write") from None
        return [self.bos] * bos + ids + [self.eos] * eos

    def decode(self, ids: Iterable[int], continued: bool = False) -> str:
        """The text of some ids, without control pieces and the space that `mark` puts first.

        Bytes that are no UTF-8 become U+FFFD, the unknown piece " ⁇ ".

        Args:
            ids: the ids.
            continued: they go on from other text: a space before the first word stays.

        Raises:
            NoSuchId: when there is no such id.
        """
        kept = [i for i in ids if self._at(i).kind != "control"]
        raw = b"".join(self._surfaces[i] for i in kept)
        if kept and not continued and self.pieces[kept[0]].text.startswith(MARK):
            raw = raw[1:]
        return raw.decode("utf-8", errors="replace")

    def save(self, path: str | Path) -> None:
        """Write the pieces atomically, one a line as JSON: [text, score] or [text, score, kind]."""
        path = Path(path)
        rows = (p[: 2 if p.kind == "normal" else 3] for p in self.pieces)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(lines, encoding="utf-8", newline="\n")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            TokenizerError: when the file is not one, with the number of the line.
        """
        raw = files.read(path, "file of pieces").replace(b"\r\n", b"\n")
        try:
            lines = raw.decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError:
            raise TokenizerError(f"{path} is no file of pieces: it is not UTF-8 text") from None
        pieces: dict[str, Piece] = {}
        for number, line in enumerate(lines, 1):
            piece = _read_line(line)
            if piece is None:
                raise TokenizerError(
                    f'{path}, line {number}: expected ["text", score] or ["text", score, "kind"] '
                    f"with a kind of {', '.join(get_args(Kind))}; got {line[:60]!r}"
                )
            if piece.text in pieces:
                raise TokenizerError(
                    f"{path}, line {number}: {piece.text!r:.60} stands on a line above too"
                )
            pieces[piece.text] = piece
        try:
            return cls(pieces.values())
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None

    @classmethod
    def from_model(cls, path: str | Path) -> Self:
        """Read a SentencePiece model, such as the ``tokenizer.model`` of LLaMA's weights.

        Raises:
            MissingTokenizer: when there is no such file.
            TokenizerError: when it is no SentencePiece model, or one that this class cannot run.
        """
        pieces = sentence_model.read(path)
        try:
            tokenizer = cls(pieces)
        except TokenizerError as error:
            raise TokenizerError(f"{path} is not a tokenizer like LLaMA's: {error}") from None
        sentence_model.compare(path, tokenizer.encode)
        return tokenizer


def _read_line(line: str) -> Piece | None:
    """One line of a saved file, or None when it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, list) or len(row) not in (2, 3):
        return None
    text, score, kind = [*row, "normal"][:3]
    numeric = type(score) in (int, float) and isfinite(score)
    known = isinstance(text, str) and text != "" and kind in get_args(Kind)
    return Piece(text, float(score), kind) if numeric and known else None


class FastSentenceBPE(SentenceBPE):
    """The same ids as `SentenceBPE`, by the library sentencepiece: for training and long texts.

    Scores are rounded to 32 bits there; those of SentencePiece's models have no more.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        super().__init__(pieces)
        self._processor = sentence_model.processor(self.pieces)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.pieces,)

    def _text_ids(self, text: str) -> list[int]:
        try:
            return self._processor.encode(text)
        except RuntimeError:
            text.encode("utf-8")  # half a character: say so as everywhere else
            raise


@lru_cache(maxsize=1)
def toy() -> FastSentenceBPE:
    """The toy language model's tokenizer, shipped with the course."""
    return FastSentenceBPE.load(paths.checkpoints_dir() / "tokenizer-llm" / "pieces.txt")
