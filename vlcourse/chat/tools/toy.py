"""Perception by the course's own models: captions by a BLIP, tags and names of things by a CLIP.

They know the toy world only: of a real video they say what they know, which is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from weakref import ref

from torch import Tensor

from vlcourse import zoo
from vlcourse.chat.perception import Kind, Subtitles, Tool
from vlcourse.chat.tools.changes import Change, Track, changes, clause, followed
from vlcourse.chat.tools.frames import EachFrame
from vlcourse.chat.tools.things import Namer, Seen
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment
from vlcourse.data.world.words import CLASSES
from vlcourse.evals.experts import captioner
from vlcourse.evals.writing import Writing
from vlcourse.models.blip import BLIP
from vlcourse.models.clip import CLIP

DENSE_EVERY = 5.0  # seconds, as in VideoChat-Text
ACTIONS = {
    "come": "coming in", "leave": "going away", "move": "moving", "hit": "hitting",
    "colour": "changing colour", "size": "changing size",
}  # fmt: skip


def captions(model: BLIP, tokenizer: Any, name: str = "BLIP") -> Tool:
    """A caption of each frame, without the full stop, greedily."""
    says = captioner(model, tokenizer, Writing(prompt="a picture of ", beams=1))

    def brief(pictures: Sequence[Tensor]) -> list[str]:
        return [
            " ".join(text.removesuffix(".").replace(" ,", ",").split()) for text in says(pictures)
        ]

    return EachFrame("caption", name, brief)


class Watcher:
    """The things of a video's frames, found once for all the tools that need them.

    Args:
        model: a CLIP that was trained on the toy world.
        tokenizer: its own.
    """

    def __init__(self, model: CLIP, tokenizer: Any) -> None:
        self.namer = Namer(model, tokenizer)
        self._last: tuple[ref[Tensor], list[list[Seen]]] | None = None

    def seen(self, media: Media) -> list[list[Seen]]:
        """The things of each frame."""
        last = self._last
        if last is None or last[0]() is not media.frames:
            last = (ref(media.frames), self.namer.seen(media.frames))
            self._last = last
        return last[1]

    def changes(self, media: Media) -> tuple[list[Change], list[Track]]:
        """What happens, and to whom."""
        tracks = followed(self.seen(media))
        height, width = media.frames.shape[-2:]
        return changes(tracks, media.times, (height, width)), tracks


class Tags:
    """The things in each frame by colour and shape, in the order of the vocabulary."""

    kind: Kind = "tags"

    def __init__(self, watcher: Watcher, name: str = "CLIP") -> None:
        self.watcher, self.name = watcher, name

    def look(self, media: Media) -> list[Segment]:
        """A segment for each frame in which there is anything."""
        found = []
        for start, end, seen in zip(media.times, media.ends, self.watcher.seen(media), strict=True):
            pairs = sorted(CLASSES.index((s.name.colour or "", s.name.shape or "")) for s in seen)
            if pairs:
                found.append(Segment(start, end, ", ".join(" ".join(CLASSES[i]) for i in pairs)))
        return found


class DenseCaptions:
    """The things in a frame with their boxes, every five seconds."""

    kind: Kind = "dense"

    def __init__(self, watcher: Watcher, every: float = DENSE_EVERY, name: str = "CLIP") -> None:
        self.watcher, self.every, self.name = watcher, every, name

    def look(self, media: Media) -> list[Segment]:
        """A segment for each thing, which holds until the next frame that is looked at."""
        some = media.at_rate(1 / self.every)
        seen = dict(zip(media.times, self.watcher.seen(media), strict=True))
        return [
            Segment(start, end, thing.name.noun(), thing.box)
            for start, end in zip(some.times, some.ends, strict=True)
            for thing in seen[start]
        ]


class Changes:
    """What happens, from where the things of each frame are, and what they look like."""

    kind: Kind = "change"

    def __init__(self, watcher: Watcher, name: str = "CLIP, followed from frame to frame") -> None:
        self.watcher, self.name = watcher, name

    def look(self, media: Media) -> list[Segment]:
        """A segment for each change."""
        found, tracks = self.watcher.changes(media)
        return [Segment(one.time, one.end, clause(one, tracks)) for one in found]


class Action:
    """What the whole video is about: the commonest change in it."""

    kind: Kind = "action"

    def __init__(self, watcher: Watcher, name: str = "the commonest change") -> None:
        self.watcher, self.name = watcher, name

    def look(self, media: Media) -> list[Segment]:
        """One segment; none where nothing changes."""
        kinds = Counter(one.kind for one in self.watcher.changes(media)[0])
        common = [ACTIONS[kind] for kind, _ in kinds.most_common(1)]
        return [Segment(0.0, max(media.ends), label) for label in common]


def toy_tools() -> list[Tool]:
    """All of them, by the models that ship: blip-toy and clip-toy."""
    blip, clip = zoo.load("blip-toy"), zoo.load("clip-toy")
    assert isinstance(blip, BLIP) and isinstance(clip, CLIP)
    watcher = Watcher(clip, zoo.find("clip-toy").tokenizer())
    return [
        Action(watcher),
        captions(blip, zoo.find("blip-toy").tokenizer(), "blip-toy"),
        Tags(watcher, "clip-toy"),
        DenseCaptions(watcher, name="clip-toy"),
        Changes(watcher),
        Subtitles(),
    ]
