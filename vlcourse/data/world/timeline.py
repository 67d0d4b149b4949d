"""One film of the toy world: a scene that changes, and everything true of it at every moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlcourse.data.segments import Segment
from vlcourse.data.world import video_captions, video_questions
from vlcourse.data.world.arrays import UNIT
from vlcourse.data.world.facts import Object
from vlcourse.data.world.scene import Scene
from vlcourse.data.world.script import LONGEST, Event, Line, Script
from vlcourse.data.world.stage import Stage, staged
from vlcourse.data.world.video_questions import VideoQuestion
from vlcourse.data.world.words import SIZES


@dataclass(frozen=True)
class Timeline:
    """A film: its script, and where the actors stand and go.

    Sample one with `Timeline.sample`, or put one together from a `Script` with `Timeline.of`.
    :mod:`vlcourse.data.world.film` draws it.

    Attributes:
        script: who is in it, and what happens.
        stage: where.
    """

    script: Script
    stage: Stage

    @classmethod
    def of(cls, script: Script) -> Timeline:
        """A film of a script, with places drawn from its seed."""
        return cls(script, staged(script))

    @classmethod
    def sample(
        cls, seed: int, split: str = "train", seconds: tuple[int, int] = (6, LONGEST)
    ) -> Timeline:
        """The film of a seed; the arguments are those of :meth:`Script.sample`."""
        return cls.of(Script.sample(seed, split, seconds))

    @property
    def duration(self) -> int:
        """Seconds."""
        return self.script.duration

    @property
    def events(self) -> tuple[Event, ...]:
        """What happens, in order of time; a hit before what it causes."""
        return self.script.events

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is said."""
        return self.script.lines

    @property
    def seed(self) -> int:
        """What the ground and the words are drawn from."""
        return self.script.seed

    def at(self, time: float) -> Scene:
        """The scene at a time, in seconds from the beginning; its objects in the actors' order.

        An event at 3 s shows in the scene at 3 s.

        Raises:
            ValueError: the time is not within the film.
        """
        if not 0 <= time <= self.duration:
            raise ValueError(f"The film lasts {self.duration} s; there is no scene at {time} s.")
        objects = tuple(self.actor_at(who, time) for who in self.present(time))
        return Scene(objects, self.seed, self.script.split)

    def present(self, time: float) -> list[int]:
        """Which actors are there at a time."""
        return [who for who in range(len(self.script.actors)) if self.script.present(who, time)]

    def actor_at(self, who: int, time: float) -> Object:
        """An actor as it is at a time, or would be if it were there."""
        thing, way = self.script.actors[who], self.stage.ways[who]
        x, y = float(way.x), float(way.y)
        for event in self.events:
            begin, end = event.span
            if event.who != who or begin > time:
                continue
            if event.kind in ("move", "hit"):
                part = min(1.0, (time - begin) / (end - begin))
                x, y = way.x + part * (way.to_x - way.x), way.y + part * (way.to_y - way.y)
            elif event.kind == "colour":
                thing = replace(thing, colour=event.value)
            elif event.kind == "size":
                thing = replace(thing, size=event.value)
        assert thing.colour and thing.shape and thing.size
        radius = self.stage.radii[who][SIZES.index(thing.size)]
        return Object(thing.colour, thing.shape, thing.size, x / UNIT, y / UNIT, radius / UNIT)

    def captions(self) -> list[str]:
        """True sentences about the film as a whole, the most complete one first."""
        return video_captions.captions(self.script)

    def dense(self) -> list[Segment]:
        """What happens when, in words: what is there at first, then each event."""
        return video_captions.dense(self.script)

    def tags(self) -> list[str]:
        """Words for what is seen and what happens, in alphabetical order."""
        return video_captions.tags(self.script)

    def boxes(self, time: float) -> list[tuple[str, tuple[float, float, float, float]]]:
        """Each object at a time, with its box: left, top, right, bottom as parts of the picture."""
        return [
            (
                f"{o.size} {o.colour} {o.shape}",
                (o.x - o.radius, o.y - o.radius, o.x + o.radius, o.y + o.radius),
            )
            for o in self.at(time).objects
        ]

    def subtitles(self) -> tuple[Segment, ...]:
        """What is said, each line with its time."""
        return tuple(Segment(line.begin, line.end, line.text) for line in self.lines)

    def srt(self) -> str:
        """The subtitles, as the text of an SRT file."""
        return video_captions.srt(self.lines)

    def questions(self, kinds: Sequence[str] = video_questions.VIDEO_KINDS) -> list[VideoQuestion]:
        """Questions with answers, of these kinds, as far as the film allows them."""
        return video_questions.questions(self.script, kinds)
