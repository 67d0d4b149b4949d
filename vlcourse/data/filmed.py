"""Films of the toy world as frames with chats about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import ConcatDataset, Dataset

from vlcourse.data.corpus.corpus import ANSWER, QUESTION
from vlcourse.data.told import WorldTexts
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.film import frames, uniform_times
from vlcourse.data.world.script import LONGEST, Script, check_seconds
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_captions import told
from vlcourse.data.world.video_questions import VIDEO_KINDS, VideoQuestion, questions
from vlcourse.data.world.words import hash_int
from vlcourse.layers.ranges import RangeError

SEEN_KINDS: tuple[str, ...] = tuple(kind for kind in VIDEO_KINDS if kind != "speech")
"""Questions whose answers can be seen: who is called what is only said."""
_SEED = 192  # tells a film's seed from other draws of its number


class Filmed(Dataset[dict[str, Any]]):
    """Films, each with a chat about it, map-style; sample i depends on the arguments and i only.

    A sample is {"id", "frames": uint8 (T, 3, size, size), "seconds": T times, "kind": "told" or
    "asked", "parts": pieces of text, each with whether it is to be learned, "timeline"}. There may
    be more samples than films: each round through them brings other chats.

    Args:
        split: of the films: "train", "val", "test" or "heldout".
        films: how many there are.
        n: number of samples; 0 for as many as films.
        size: side of the frames, in pixels.
        frames: how many of a film, at the middles of equal parts; 0: one a second.
        seconds: least and greatest duration of a film.
        asked: most questions of a chat.
        brief: of a hundred chats, how many ask in very few words.
        described: of a hundred samples, how many tell the film instead of asking.
        kinds: of questions.
        seed: another seed gives other films.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    def __init__(
        self,
        split: str = "train",
        films: int = 20_000,
        n: int = 0,
        size: int = 32,
        frames: int = 0,
        seconds: tuple[int, int] = (6, LONGEST),
        asked: int = 10,
        brief: int = 50,
        described: int = 0,
        kinds: Sequence[str] = SEEN_KINDS,
        seed: int = 0,
    ) -> None:
        if films < 1 or frames < 0:
            raise RangeError(f"films is at least 1 and frames at least 0; got {films}, {frames}")
        self.split, self.films, self.n, self.size = split, films, n or films, size
        self.count, self.brief, self.described = frames, brief, described
        self.kinds, self.seed = tuple(kinds), seed
        self.seconds, self.asked = check_seconds(seconds), asked
        self.name = f"filmed/{split}" + (f"-{seed}" if seed else "")

    def __len__(self) -> int:
        return self.n

    @property
    def pictures(self) -> Filmed:
        """The films, each once."""
        return Filmed(
            self.split, self.films, 0, self.size, self.count, self.seconds, 1,
            kinds=self.kinds, seed=self.seed,
        )  # fmt: skip

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample ``index``."""
        turn, number = divmod(index, self.films)
        film = Timeline.sample(hash_int(self.seed, _SEED, number), self.split, self.seconds)
        times = sample_times(film.duration, self.count)
        dice = Dice(film.seed, "chat about a film", turn)
        found = {
            "id": f"{self.name}/{number}",
            "frames": frames(film, times, self.size),
            "seconds": tuple(times),
            "timeline": film,
        }
        if dice.below(100) < self.described:
            return {**found, "kind": "told", "parts": ((told(film.script), True),)}
        parts: list[tuple[str, bool]] = []
        brief = dice.below(100, at=16) < self.brief
        for question in choose(film.script, self.kinds, self.asked, turn):
            parts += [(ask(question, brief), False), (f"{question.answer}.", True)]
        return {**found, "kind": "asked", "parts": tuple(parts)}


class WithPictures(Dataset[dict[str, Any]]):
    """Films with chats, and among them pictures with texts, which are samples of another dataset.

    Args:
        films: the films.
        others: the pictures with texts, as many as films or more.
        share: of a hundred samples, how many are pictures; which ones is drawn from ``seed``.
        seed: see there.
    """

    def __init__(self, films: Filmed, others: WorldTexts, share: int, seed: int = 0) -> None:
        if not 0 <= share <= 100:
            raise RangeError(f"share is a number in a hundred, 0 to 100; got {share}")
        self.films, self.others, self.share, self.seed = films, others, share, seed

    def __len__(self) -> int:
        return len(self.films)

    @property
    def pictures(self) -> Dataset[dict[str, Any]]:
        """The films and the pictures, each once."""
        return ConcatDataset([self.films.pictures, self.others.pictures])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample ``index``."""
        still = Dice(hash_int(self.seed, _SEED, index), "film or picture").below(100) < self.share
        return self.others[index] if still else self.films[index]


def sample_times(duration: float, count: int = 0) -> list[float]:
    """When a film is looked at: ``count`` times, or once in each second; at the middles."""
    return uniform_times(duration, count or max(1, round(duration)))


def ask(question: VideoQuestion, brief: bool = False) -> str:
    """The words after which a reader gives the answer."""
    return question.brief if brief else f"{QUESTION.format(question.text)} {ANSWER}"


def choose(script: Script, kinds: Sequence[str], asked: int, turn: int = 0) -> list[VideoQuestion]:
    """Up to ``asked`` questions about a film, in random order; all kinds alike often, as far as
    there are some."""
    pools = {kind: questions(script, (kind,)) for kind in kinds}
    chosen: list[VideoQuestion] = []
    for i in range(asked):
        left = [pool for pool in pools.values() if pool]
        if not left:
            break
        dice = Dice(script.seed, "asked about a film that is seen", turn, i)
        chosen.append(dice.take(dice.pick(left), at=16))
    return chosen
