"""A tokenizer of the transformers library, used as `SentenceBPE` is: OPT's, T5's, …"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlcourse.tokenizers.files import NoSuchId, TokenizerError


class TransformersWords:
    """Text ↔ ids by a tokenizer of transformers.

    Attributes:
        bos: the id that begins a text; of one that has none (T5) its padding, from which the
            decoder starts.
        eos: the id that ends it.

    Args:
        theirs: the tokenizer.

    Raises:
        TokenizerError: when it has no end of text.
    """

    def __init__(self, theirs: Any) -> None:
        self._theirs = theirs
        if theirs.eos_token_id is None:
            raise TokenizerError("this tokenizer of transformers has no end of text")
        self.eos: int = theirs.eos_token_id
        first = theirs.pad_token_id if theirs.bos_token_id is None else theirs.bos_token_id
        self.bos: int = self.eos if first is None else first
        self.vocab_size = len(theirs)

    def piece(self, i: int) -> str:
        """One id's token; NoSuchId when there is none."""
        if not 0 <= i < self.vocab_size:
            raise NoSuchId(f"no token has the id {i}: the ids are 0 to {self.vocab_size - 1}")
        return str(self._theirs.convert_ids_to_tokens(i))

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """A text's ids, with the start's before and the end's after it on request."""
        ids = self._theirs(text, add_special_tokens=False).input_ids
        return [self.bos] * bos + list(ids) + [self.eos] * eos

    def decode(self, ids: Iterable[int], continued: bool = False) -> str:
        """The text of some ids, without control tokens; ``continued``: with the space before its
        first word."""
        several = list(ids)
        for i in several:
            self.piece(i)
        if not continued:
            return self._text(several)
        before = self.encode("a")  # an id of a letter
        return self._text([*before, *several])[len(self._text(before)) :]

    def _text(self, ids: list[int]) -> str:
        return str(
            self._theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )


def load(source: str | Path) -> TransformersWords:
    """The tokenizer of a model's folder, or of a hub id that this machine has already.

    Raises:
        TokenizerError: when there is none.
    """
    import transformers

    try:
        return TransformersWords(
            transformers.AutoTokenizer.from_pretrained(source, local_files_only=True)
        )
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TokenizerError(
            f"{source} has no tokenizer of transformers here: {said:.200}"
        ) from None
