"""Films of the toy world as frames with chats about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import ConcatDataset, Dataset

from vlcourse.data.corpus.films import ask, said_again
from vlcourse.data.told import WorldTexts
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.script import Script
from vlcourse.data.world.video_questions import VIDEO_KINDS, VideoQuestion, questions
from vlcourse.data.world.videos import Videos
from vlcourse.data.world.words import check_choice, hash_int
from vlcourse.layers.ranges import RangeError

SEEN_KINDS: tuple[str, ...] = tuple(kind for kind in VIDEO_KINDS if kind != "speech")
"""Questions whose answers can be seen: who is called what is only said."""
_SEED = 192  # tells a sample's number from other draws of it


class Filmed(Dataset[dict[str, Any]]):
    """Films, each with a chat about it, map-style; sample i depends on the arguments and i only.

    A sample is {"id", "frames": uint8 (T, 3, size, size), "seconds": T times, "kind": "again" or
    "asked", "parts": pieces of text, each with whether it is to be learned, "timeline"}. There may
    be more samples than films: each round through them brings other chats.

    Args:
        videos: the films.
        n: number of samples; 0 for as many as films.
        asked: most questions of a chat.
        brief: of a hundred chats, how many ask in very few words.
        described: of a hundred samples, how many tell the film "in other words" instead of asking.
        kinds: of questions.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    def __init__(
        self,
        videos: Videos,
        n: int = 0,
        asked: int = 10,
        brief: int = 50,
        described: int = 0,
        kinds: Sequence[str] = SEEN_KINDS,
    ) -> None:
        for kind in kinds:
            check_choice("kind of question about a film", kind, VIDEO_KINDS)
        self.videos, self.n, self.asked = videos, n or len(videos), asked
        self.brief, self.described, self.kinds = brief, described, tuple(kinds)

    def __len__(self) -> int:
        return self.n

    @property
    def pictures(self) -> Videos:
        """The films, each once."""
        return self.videos

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample ``index``."""
        turn, number = divmod(index, len(self.videos))
        video = self.videos[number]
        script = video["timeline"].script
        found = {
            "id": video["id"],
            "frames": video["frames"],
            "seconds": video["times"],
            "timeline": video["timeline"],
        }
        dice = Dice(script.seed, "chat about a film", turn)
        if dice.below(100) < self.described:
            return {**found, "kind": "again", "parts": said_again(script, turn)}
        brief = dice.below(100, at=16) < self.brief
        parts: list[tuple[str, bool]] = []
        for question in choose(script, self.kinds, self.asked, turn):
            parts += [(ask(question, brief), False), (f"{question.answer}.", True)]
        return {**found, "kind": "asked", "parts": tuple(parts)}


class WithPictures(Dataset[dict[str, Any]]):
    """Films with chats, and among them pictures with texts, which are samples of another dataset.

    Args:
        films: the films.
        others: the pictures with texts, as many as samples of films or more.
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


def choose(script: Script, kinds: Sequence[str], asked: int, turn: int = 0) -> list[VideoQuestion]:
    """Up to ``asked`` questions about a film, in random order; each kind is as likely to be the
    next, as far as there are some left. Another ``turn`` brings others."""
    pools = {kind: questions(script, (kind,), easy=True) for kind in kinds}
    chosen: list[VideoQuestion] = []
    for i in range(asked):
        left = [pool for pool in pools.values() if pool]
        if not left:
            break
        dice = Dice(script.seed, "asked about a film that is seen", turn, i)
        chosen.append(dice.take(dice.pick(left), at=16))
    return chosen
