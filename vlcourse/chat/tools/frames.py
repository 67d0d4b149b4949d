"""What an expert says of each frame, as a tool: captions by any model that writes of pictures."""

from __future__ import annotations

from dataclasses import dataclass

from vlcourse.chat.perception import Kind
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment
from vlcourse.evals.experts import Expert

AT_ONCE = 32  # frames


@dataclass(frozen=True)
class EachFrame:
    """An :data:`Expert` that is asked about each frame; what it says holds until the next one."""

    kind: Kind
    name: str
    expert: Expert

    def look(self, media: Media) -> list[Segment]:
        """A segment for each frame of which something is said."""
        said: list[str] = []
        for start in range(0, len(media.times), AT_ONCE):
            said += self.expert([*media.frames[start : start + AT_ONCE]])
        spans = zip(media.times, media.ends, said, strict=True)
        return [Segment(start, end, text) for start, end, text in spans if text]
