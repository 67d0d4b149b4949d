"""What every talker does with a question, and with an answer."""

from __future__ import annotations

import pytest

from vlcourse.chat import ChatError
from vlcourse.chat.asking import asked, toy_question, trimmed


def test_a_question_is_one_line() -> None:
    assert asked(" what \n is it? ") == "what is it?"
    assert toy_question("What?") == "question: what? answer:"


@pytest.mark.parametrize(("question", "said"), [("\t", "no question"), ("w" * 2001, "too long")])
def test_none_and_one_without_end_are_refused(question: str, said: str) -> None:
    with pytest.raises(ChatError, match=said):
        asked(question)


def test_no_space_stands_around_an_answer() -> None:
    assert list(trimmed(iter([" ", " a", " b ", " ", "c", " "]))) == ["a", " b", "  c"]
    assert list(trimmed(iter([" ", "  "]))) == []
