"""The same chat in a notebook: ``from vlcourse.chat.widget import chat; chat()``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ipywidgets as widgets

from vlcourse.chat import ChatError, strip
from vlcourse.chat.asking import asked
from vlcourse.chat.examples import EXAMPLES
from vlcourse.chat.protocol import Turn
from vlcourse.chat.talk import Cast, Talk, choices, first_two
from vlcourse.chat.visits import Visits

HERE = "notebook"  # the one visitor
STYLE = """.turns p { margin: 3px 0; padding: 3px 9px; border-radius: 8px; width: fit-content; }
.turns .asked { margin-left: auto; background: #e8f0fe; color: #111; }
.turns .said { background: #f3f4f6; color: #111; } .vlchat .media { width: 97%; }
.vlchat .text { max-height: 110px; overflow-y: auto; word-break: normal; }"""


class Half:
    """One model's half: who answers, what it saw, and the talk."""

    def __init__(self, side: str, who: str) -> None:
        self.side = side
        wide = widgets.Layout(width="98%")
        self.talker = widgets.Dropdown(options=[*choices(), ("nobody", "")], value=who, layout=wide)
        self.seen, self.turns = widgets.HTML(), widgets.HTML()
        self.box = widgets.VBox(
            [self.talker, self.seen, self.turns], layout=widgets.Layout(width="50%")
        )

    def look(self, talk: Talk | None) -> None:
        """Show what the talker sees, and its turns."""
        name = self.talker.value
        if talk is None or not name:
            self.seen.value = self.turns.value = ""
            return
        self.show(talk.turns.get((self.side, name), ()))
        try:
            self.seen.value = strip.account(talk.media, talk.account(name))
        except ChatError as error:
            self.seen.value = strip.notice(str(error))

    def ask(self, talk: Talk, question: str) -> None:
        """Show the answer while it grows."""
        if not (name := self.talker.value):
            return
        before = list(talk.turns.get((self.side, name), ()))
        self.show([*before, Turn(question, "…")])
        try:
            for text in talk.answer((self.side, name), question):
                self.show([*before, Turn(question, text)])
        except ChatError as error:
            self.show(before, strip.notice(str(error)))

    def show(self, turns: Sequence[Turn], notice: str = "") -> None:
        """The talk, as bubbles."""
        said = "".join(
            f"<p class='asked'>{escape(turn.question)}</p><p class='said'>{escape(turn.answer)}</p>"
            for turn in turns
        )
        self.turns.value = f"<div class='turns'>{said}</div>{notice}"


class Chat(widgets.VBox):
    """The widget; make it with :func:`chat`.

    Args:
        cast: who can be asked.
    """

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._temporary = TemporaryDirectory(prefix="vlcourse-chat-")  # goes with the kernel
        self._visits = Visits(Path(self._temporary.name))
        self.example = widgets.Dropdown(options=list(EXAMPLES), layout=widgets.Layout(width="60%"))
        self.file = widgets.FileUpload(accept="image/*,video/*", description="your own file")
        self.shown, self.said = widgets.HTML(), widgets.HTML()
        self.question = widgets.Text(
            placeholder="Ask both …", continuous_update=False, layout=widgets.Layout(width="85%")
        )
        self.button = widgets.Button(description="Ask", button_style="primary")
        self.halves = [
            Half(side, who) for side, who in zip(("left", "right"), first_two(), strict=True)
        ]
        self.example.observe(self._choose, "value")
        self.file.observe(self._upload, "value")
        self.button.on_click(self._ask)
        for half in self.halves:
            half.talker.observe(self._look, "value")
        style = Path(__file__).with_name("strip.css").read_text("utf-8") + STYLE
        super().__init__([
            widgets.HTML(f"<style>{style}</style>"),
            widgets.HBox([self.example, self.file]), self.shown,
            widgets.HBox([half.box for half in self.halves]), self.said,
            widgets.HBox([self.question, self.button]),
        ])  # fmt: skip
        self.add_class("vlchat")
        self._choose()

    @property
    def talk(self) -> Talk | None:
        """What is talked about."""
        return self._visits.of(HERE).talk

    def close(self) -> None:
        """Close it; an uploaded file is deleted."""
        self._visits.close(HERE)
        super().close()

    def _choose(self, change: Any = None) -> None:
        if self.example.value is None:  # an upload has taken its place
            return
        media, questions, film = EXAMPLES[self.example.value].shown()
        self._visits.of(HERE).begin(Talk(media, self._cast))
        self.question.placeholder = f"{questions[0]}  …  {questions[-1]}"
        self._shown(strip.timeline(media, film))

    def _upload(self, change: Any = None) -> None:
        if not self.file.value:
            return
        sent, self.file.value = self.file.value[0], ()
        with TemporaryDirectory(dir=self._temporary.name) as folder:
            file = Path(folder) / (Path(sent["name"]).name or "file")
            file.write_bytes(sent["content"])
            try:
                media = self._visits.bring(HERE, file, self._cast)
            except ChatError as error:
                self.said.value = strip.notice(str(error))
                return
        self.example.value, self.question.placeholder = None, "Ask both …"
        self._shown(strip.timeline(media, strip.playable(media)))

    def _shown(self, text: str) -> None:
        self.shown.value, self.said.value = text, ""
        self._look()

    def _look(self, change: Any = None) -> None:
        for half in self.halves:
            half.look(self.talk)

    def _ask(self, button: Any = None) -> None:
        try:
            words = asked(self.question.value)
        except ChatError as error:
            self.said.value = strip.notice(str(error))
            return
        self.question.value = self.said.value = ""
        if (talk := self.talk) is not None:
            for half in self.halves:
                half.ask(talk, words)


def chat(cast: Cast | None = None) -> Chat:
    """Talk about a film or a picture in a notebook: the last value of a cell.

    Args:
        cast: who can be asked; everybody in the course.

    Raises:
        ChatError: when no model that talks is there.
    """
    return Chat(cast or Cast())
