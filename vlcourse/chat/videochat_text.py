"""VideoChat-Text as a talker: tools look, their words become a text, a language model answers.

Li et al. 2023, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from weakref import finalize

from vlcourse.chat.asking import asked
from vlcourse.chat.llm import LanguageModel
from vlcourse.chat.perception import Perceived, Tool, perceive
from vlcourse.chat.protocol import Account, Turn
from vlcourse.chat.textualise import textualised
from vlcourse.data.media import Media

FPS = 1.0


class VideoChatText:
    """Tools and a language model.

    What the tools said of a video is kept as long as the media is, so that a second question about
    it is answered at once; never longer.

    Args:
        tools: at most one of each kind.
        llm: what answers.
        name: what it is called.
    """

    def __init__(
        self, tools: Sequence[Tool], llm: LanguageModel, name: str = "videochat-text"
    ) -> None:
        self.tools, self.llm, self.name = tuple(tools), llm, name
        self._kept: dict[int, Perceived] = {}
        self._lock = Lock()

    def perceived(self, media: Media) -> Perceived:
        """What the tools say of a video, once a second."""
        with self._lock:
            if id(media) not in self._kept:
                self._kept[id(media)] = perceive(media.at_rate(FPS), self.tools)
                finalize(media, self._kept.pop, id(media), None)
            return self._kept[id(media)]

    def account(self, media: Media) -> Account:
        """The text of the video; and what the language model reads of it, where that is another."""
        seen = self.perceived(media)
        text, read = "\n".join(textualised(seen)), self.llm.text(seen)
        if read != text:
            text = f"{text}\n\nAs {self.llm.name} reads it: {read}"
        return Account(text, media.at_rate(FPS).times)

    def answer(self, media: Media, question: str, history: Sequence[Turn] = ()) -> Iterator[str]:
        """Pieces of the language model's answer."""
        words = asked(question)
        return self.llm.answer(self.perceived(media), words, history)
