"""What every talker does with a question before it answers, and with its answer."""

from __future__ import annotations

from collections.abc import Iterator

from vlcourse.chat import ChatError
from vlcourse.data.corpus.corpus import ANSWER, QUESTION

MOST = 2_000  # characters of a question; more was pasted by mistake


def asked(question: str) -> str:
    """The question without the spaces around it, on one line.

    Raises:
        ChatError: when there is none, or it is longer than a question is.
    """
    words = " ".join(question.split())
    if not words:
        raise ChatError("there is no question: ask something about it")
    if len(words) > MOST:
        raise ChatError(
            f"a question of {len(words):,} characters is too long: at most {MOST:,} can be asked"
        )
    return words


def toy_question(question: str) -> str:
    """A question as the toy language models have learned to read one, up to its answer."""
    return f"{QUESTION.format(question.lower())} {ANSWER}"


def check_room(left: int) -> None:
    """ChatError where a question takes more tokens than its language model has room for."""
    if left < 0:
        raise ChatError("the question is too long for this language model: ask in fewer words")


def trimmed(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces of an answer without space at its beginning, and at its end."""
    held, begun = "", False
    for piece in pieces:
        piece = held + (piece if begun else piece.lstrip())
        kept = piece.rstrip()
        held = piece[len(kept) :]
        if kept:
            begun = True
            yield kept
