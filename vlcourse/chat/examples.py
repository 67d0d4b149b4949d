"""What can be talked about without a file: pictures and films that the toy world draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vlcourse.data.media import Media
from vlcourse.data.world import Scene, film
from vlcourse.data.world.timeline import Timeline

SIZE = 224  # pixels
FPS = 2.0  # frames of a film that a talk holds, as of a file


@dataclass(frozen=True)
class Example:
    """Something to talk about, with questions that can be asked."""

    name: str
    seed: int
    draw: Callable[[int], tuple[Media, list[str], bytes]]

    def shown(self) -> tuple[Media, list[str], bytes]:
        """The media, questions about it, and a film as an MP4 file (none of a picture)."""
        return self.draw(self.seed)


def picture(seed: int) -> tuple[Media, list[str], bytes]:
    """A scene of the test split, with one question of each kind."""
    scene = Scene.sample(seed, split="test", n_objects=3)
    asked = {question.kind: question.text for question in scene.questions()}
    return Media("a picture", scene.render(SIZE)[None], (0.0,)), list(asked.values()), b""


def movie(seed: int) -> tuple[Media, list[str], bytes]:
    """A film of the test split, with one question of each kind."""
    timeline = Timeline.sample(seed, "test")
    times = film.frame_times(timeline.duration, FPS)
    media = Media(
        "a film", film.frames(timeline, times, SIZE), tuple(times), float(timeline.duration),
        subtitles=timeline.subtitles(),
    )  # fmt: skip
    with TemporaryDirectory(prefix="vlcourse-film-") as folder:
        file = film.write_mp4(timeline, Path(folder) / "film.mp4", size=SIZE).read_bytes()
    asked = {question.kind: question.text for question in timeline.questions()}
    return media, list(asked.values()), file


EXAMPLES: dict[str, Example] = {
    example.name: example
    for example in (
        Example("film: two hits and a new colour", 7, movie),
        Example("film: three that go away", 27, movie),
        Example("film: three that move", 28, movie),
        Example("picture: two triangles and a square", 11, picture),
        Example("picture: two circles and a square", 13, picture),
    )
}
