"""What a model does that can be talked with about a video: the one protocol of the chat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from vlcourse.data.media import Media


@dataclass(frozen=True)
class Turn:
    """One question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Account:
    """What a model made of a video before it was asked: a page shows it to the reader."""

    text: str
    """In words: VideoChat-Text's video as text, VideoChat-Embed's sentence about its frames, …"""
    times: tuple[float, ...]
    """The frames it looked at, by their times in seconds."""
    attention: Tensor | None = None
    """(Q, T) how much each of the model's Q tokens attends to each of those frames; rows sum to 1.
    None where it has none to show."""
    share: float = 1.0
    """How much of their attention goes to those frames, the mean over the tokens; the rest goes to
    what is made of all frames together."""


class Talker(Protocol):
    """A model that answers questions about a video or a picture.

    One talker serves many readers: nothing about a video or a reader is kept in it.
    """

    name: str

    def account(self, media: Media) -> Account:
        """What it sees in the video.

        Raises:
            ChatError: when it can see nothing in it, with the reason.
        """
        ...

    def answer(self, media: Media, question: str, history: Sequence[Turn] = ()) -> Iterator[str]:
        """Pieces of an answer, each once it is certain; joined they are the answer.

        Args:
            media: what is asked about.
            question: in words; spaces around it do not matter.
            history: the turns before, oldest first; a model may leave out the oldest, or all.

        Raises:
            ChatError: for an empty question, or one that is too long; when this is called.
        """
        ...
