"""Who can be talked with: the models of the course that answer, by name.

>>> talker = find("blip-toy-vqa")
>>> "".join(talker.answer(media, "what colour is the circle?", ()))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from vlcourse import zoo
from vlcourse.chat import TALKERS, ChatError
from vlcourse.chat.adapter import AdapterTalker
from vlcourse.chat.blip2 import BLIP2Talker
from vlcourse.chat.llm import ToyReader
from vlcourse.chat.protocol import Account as Account
from vlcourse.chat.protocol import Talker as Talker
from vlcourse.chat.protocol import Turn as Turn
from vlcourse.chat.tools.toy import toy_tools
from vlcourse.chat.videochat_embed import VideoChatEmbed
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
    """The small language model that reads of films."""
    return ToyReader("llm-time")


def _offer(name: str, make: Callable[[], Talker], *needs: str) -> Offer:
    return Offer(name, TALKERS[name], make, needs)


OFFERS: tuple[Offer, ...] = (
    _offer(
        "videochat-text", lambda: VideoChatText(toy_tools(), toy_llm()),
        "blip-toy", "clip-toy", "llm-time",
    ),
    _offer("videochat-embed", partial(VideoChatEmbed.of, "videochat-toy"), "videochat-toy"),
    *(
        _offer(name, partial(kind, name), name)
        for kind, name in (
            (VQATalker, "blip-toy-vqa"),
            (BLIP2Talker, "blip2-toy-llm"),
            (BLIP2Talker, "blip2-toy-seq2seq"),
            (AdapterTalker, "adapter-v2-toy-visual"),
        )
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
