"""What every talker checks before it answers."""

from __future__ import annotations

from vlcourse.chat import ChatError

MOST = 2_000  # characters of a question; more was pasted by mistake


def asked(question: str) -> str:
    """The question without the spaces around it, on one line.

    Raises:
        ChatError: when there is none, or it is longer than a question is.
    """
    words = " ".join(question.split())
    if not words:
        raise ChatError("there is no question: ask something about the video")
    if len(words) > MOST:
        raise ChatError(
            f"a question of {len(words):,} characters is too long: at most {MOST:,} can be asked"
        )
    return words
