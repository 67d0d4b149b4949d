"""Who can be talked with: the models of the course that answer, by name.

>>> talker = find("blip-toy-vqa")
>>> "".join(talker.answer(media, "what colour is the circle?", ()))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vlcourse import zoo
from vlcourse.chat import ChatError
from vlcourse.chat.llm import ToyReader
from vlcourse.chat.protocol import Account as Account
from vlcourse.chat.protocol import Talker as Talker
from vlcourse.chat.protocol import Turn as Turn
from vlcourse.chat.tools.toy import toy_tools
from vlcourse.chat.videochat_text import VideoChatText
from vlcourse.chat.vqa import VQATalker
from vlcourse.names import no_such


@dataclass(frozen=True)
class Offer:
    """A talker that can be chosen: its name, what it is, and how it is made."""

    name: str
    doc: str
    make: Callable[[], Talker]
    needs: tuple[str, ...] = ()
    """The models that it stands on; it can be chosen once each ships or was trained here."""

    @property
    def ready(self) -> bool:
        """Whether everything is there that it needs."""
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """The models that are still to be trained."""
        return tuple(name for name in self.needs if not _there(name))


def _there(name: str) -> bool:
    try:
        zoo.card(name)
    except zoo.ZooError:
        return False
    return True


def toy_llm() -> ToyReader:
    """The small language model that reads of films; where it is not there, that of pictures."""
    return ToyReader("llm-time" if _there("llm-time") else "llm-toy")


OFFERS: tuple[Offer, ...] = (
    Offer(
        "videochat-text", "VideoChat-Text: the video in words, and a language model that answers",
        lambda: VideoChatText(toy_tools(), toy_llm()), ("blip-toy", "clip-toy", "llm-toy"),
    ),
    Offer(
        "blip-toy-vqa", "BLIP, asked about the frame in the middle",
        lambda: VQATalker("blip-toy-vqa"), ("blip-toy-vqa",),
    ),
)  # fmt: skip


def find(name: str) -> Talker:
    """The talker of a name.

    Raises:
        ChatError: for an unknown name (the nearest one is named), or one that is not trained yet.
    """
    known = {offer.name: offer for offer in OFFERS}
    if name not in known:
        raise ChatError(no_such("talker", name, list(known)))
    if missing := known[name].missing:
        raise ChatError(
            f"{name} needs {missing[0]}, which does not ship and has not been trained here: "
            f"vlcourse checkpoints {missing[0]}"
        )
    return known[name].make()
