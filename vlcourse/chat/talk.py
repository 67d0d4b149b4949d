"""A talk: one video or picture, and what was asked of each model about it."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vlcourse import VlcourseError
from vlcourse.chat import ChatError
from vlcourse.chat.protocol import Account, Talker, Turn
from vlcourse.chat.talkers import OFFERS, find
from vlcourse.data.media import Media

Key = tuple[str, str]  # the side of the page, and the talker's name: each pair has its own turns
FAILED = "that went wrong here, and the terminal says how: try something else"


class Cast:
    """The talkers of a page: each is loaded when it is first wanted, and serves everybody.

    Args:
        made: how a talker is had by its name; :func:`vlcourse.chat.talkers.find`.
    """

    def __init__(self, made: Callable[[str], Talker] = find) -> None:
        self._made, self._talkers, self._lock = made, dict[str, Talker](), threading.Lock()

    def __getitem__(self, name: str) -> Talker:
        """The talker of a name.

        Raises:
            ChatError: for an unknown name, or a model that is still to be trained.
        """
        with self._lock:  # of two that want the same one, the second waits
            if name not in self._talkers:
                self._talkers[name] = self._made(name)
            return self._talkers[name]


@dataclass(frozen=True)
class Talk:
    """What a visitor looks at, and the turns so far.

    Attributes:
        media: what is asked about.
        cast: who can be asked.
        turns: for each side and talker, oldest first.
    """

    media: Media
    cast: Cast
    turns: dict[Key, list[Turn]] = field(default_factory=dict)
    _busy: set[Key] = field(default_factory=set)

    def account(self, name: str) -> Account:
        """What a talker sees in the media.

        Raises:
            ChatError: a sentence that can be shown, whatever went wrong.
        """
        with told():
            return self.cast[name].account(self.media)

    def answer(self, key: Key, question: str) -> Iterator[str]:
        """The answer as far as it is known, growing; at its end it is among the turns.

        Raises:
            ChatError: a sentence that can be shown, whatever went wrong.
        """
        if key in self._busy:
            raise ChatError("one question at a time: the answer before is still being written")
        self._busy.add(key)
        text, before = "", self.turns.setdefault(key, [])
        try:
            with told():
                for piece in self.cast[key[1]].answer(self.media, question, tuple(before)):
                    text += piece
                    yield text.strip()
                if not text.strip():
                    raise ChatError(f"{key[1]} has no answer to that: ask in other words")
                before.append(Turn(" ".join(question.split()), text.strip()))
        finally:
            self._busy.discard(key)


@contextmanager
def told() -> Iterator[None]:
    """A context in which every error becomes a sentence for the reader (:class:`ChatError`)."""
    try:
        yield
    except VlcourseError as error:
        raise ChatError(str(error.args[0]) if error.args else str(error)) from error
    except Exception as error:
        traceback.print_exception(error)
        raise ChatError(FAILED) from error


def choices() -> list[tuple[str, str]]:
    """Every talker for a menu: what is read, and its name."""
    return [
        (f"{o.name} · {o.doc}" if o.ready else f"{o.name} · not trained here yet", o.name)
        for o in OFFERS
    ]


def first_two() -> tuple[str, str]:
    """Whom a page begins with: the first two of the table that are ready.

    The second is "" where only one is ready.

    Raises:
        ChatError: when none is.
    """
    ready = [offer.name for offer in OFFERS if offer.ready]
    if not ready:
        raise ChatError(
            "no model that talks is here: get the shipped weights with a complete checkout, or "
            f"train one: vlcourse checkpoints {OFFERS[0].needs[0]}"
        )
    return (ready[0], "") if len(ready) == 1 else (ready[0], ready[1])
