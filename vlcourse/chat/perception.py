"""VideoChat-Text's perception: tools that each say something about stretches of a video.

Li et al. 2023, section 3.1. A tool is a model of its own kind, is exchanged at will, and trains
nothing: captions, tags, things with boxes, an action's name, subtitles, what is spoken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from vlcourse.chat import ChatError
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment

Kind = Literal["action", "caption", "tags", "dense", "change", "subtitle", "speech"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Tool(Protocol):
    """Something that looks at a video, or listens to it."""

    @property
    def kind(self) -> Kind:
        """What it says: its place in the text of the video."""
        ...

    @property
    def name(self) -> str:
        """What it is, for the reader."""
        ...

    def look(self, media: Media) -> list[Segment]:
        """What it has to say, in the order of time; nothing where there is nothing.

        Raises:
            ChatError: when it cannot work here: a package is missing, say.
        """
        ...


@dataclass(frozen=True)
class Perceived:
    """What all the tools said of a video."""

    duration: float
    """Of the video, in seconds; 0 for a picture."""
    said: tuple[tuple[Kind, tuple[Segment, ...]], ...]
    """By kind, in the order of :data:`KINDS`; kinds about which nothing was said are left out."""

    def of(self, kind: Kind) -> tuple[Segment, ...]:
        """What was said of a kind."""
        return dict(self.said).get(kind, ())


def perceive(media: Media, tools: Sequence[Tool]) -> Perceived:
    """Let every tool look at a video.

    Raises:
        ChatError: of a tool; or when two are of one kind.
    """
    found: dict[Kind, tuple[Segment, ...]] = {}
    for tool in tools:
        if tool.kind in found:
            raise ChatError(f"two tools say {tool.kind}, {tool.name} is the second: take one")
        found[tool.kind] = tuple(tool.look(media))
    said = tuple((kind, found[kind]) for kind in KINDS if found.get(kind))
    return Perceived(media.duration, said)


class Subtitles:
    """What stands below the picture."""

    kind: Kind = "subtitle"
    name = "subtitles"

    def look(self, media: Media) -> list[Segment]:
        """As they come with the video."""
        return [*media.subtitles]
