"""The chat in a notebook: the same talks, as widgets, and no file is kept either."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import chat_fakes
import pytest
from chat_fakes import Parrot, plain
from tiny_talkers import embed

from vlcourse.chat import talkers
from vlcourse.chat.examples import EXAMPLES
from vlcourse.chat.talk import Cast
from vlcourse.chat.widget import Chat, chat

PICTURE = list(EXAMPLES)[-1]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    """A widget with the parrot on both sides, about a picture; its files are below tmp_path."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("vlcourse.chat.widget.first_two", lambda: (chat_fakes.TALKER, ""))
    made = chat(Cast(Parrot))
    made.example.value = PICTURE
    yield made
    made.close()


def send(made: Chat, path: Path) -> None:
    """As the browser sends a file."""
    content = memoryview(path.read_bytes())
    sent = {"name": path.name, "type": "", "size": len(content), "content": content}
    made.file.value = ({**sent, "last_modified": datetime.now(UTC)},)


def ask(made: Chat, question: str) -> str:
    """What stands on the left afterwards."""
    made.question.value = question
    made.button.click()
    return made.halves[0].turns.value


def test_two_questions_about_a_picture(made: Chat) -> None:
    assert "<img" in made.shown.value and "${7 * 7}" in made.halves[0].seen.value
    steps: list[str] = []
    made.halves[0].turns.observe(lambda change: steps.append(change["new"]), "value")
    assert "<p class='said'>what? &lt;b&gt;: #" in ask(made, "what? <b>")
    assert len(steps) >= 4 and "…" in steps[0] and made.question.value == ""
    assert ask(made, "again").endswith("after 1 turns</p></div>")
    assert not made.halves[1].turns.value
    made.example.value = next(iter(EXAMPLES))
    assert "attention of 3 tokens" in made.halves[0].seen.value
    assert "<video" in made.shown.value and "after 1" not in made.halves[0].turns.value


def test_text_and_embed_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("videochat-text", "videochat-embed")
    monkeypatch.setattr("vlcourse.chat.widget.first_two", lambda: both)
    made = chat(Cast(lambda name: embed() if name == both[1] else talkers.find(name)))
    text, own = (half.seen.value for half in made.halves)
    assert "at 00:02 the cross went down" in text and "attention" not in text
    assert "attention of 5 tokens over 4 frames" in own and own.count("<b title=") == 4
    assert "<p class='said'>down</p>" in ask(made, "which way did the cross go?")
    assert "<p class='said'>" in made.halves[1].turns.value
    made.close()


def test_what_cannot_be_answered_is_said(made: Chat) -> None:
    ask(made, "  ")
    assert "no question" in made.said.value
    assert "no, thank you" in ask(made, "refuse") and not made.said.value


def test_a_file_is_read_and_goes(made: Chat, tmp_path: Path) -> None:
    def kept() -> list[str]:
        return [path.name for path in tmp_path.glob("vlcourse-chat-*/**/*") if path.is_file()]

    (tmp_path / "words.mp4").write_text("words")
    send(made, tmp_path / "words.mp4")
    assert "words.mp4" in made.said.value and PICTURE == made.example.value and not kept()
    send(made, plain(tmp_path / "green.png", "#00ff00"))
    assert "green.png" in made.shown.value and not made.said.value and kept() == ["green.png"]
    assert "#00ff00" in ask(made, "which?")
    made.example.value = PICTURE
    assert not kept()
    send(made, tmp_path / "green.png")
    made.close()
    assert not kept()
