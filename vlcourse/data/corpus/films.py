"""Films told in words with questions, for language models: time, order, direction and cause, read.

First lists (:mod:`vlcourse.data.corpus.film_lists`). Then films with questions in brief, then in
sentences, and films told again in other words; and texts about pictures among them, so that what a
model could read is not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlcourse.data.corpus.corpus import ANSWER, QUESTION, Corpus
from vlcourse.data.corpus.film_lists import film_list
from vlcourse.data.corpus.lessons import Part
from vlcourse.data.corpus.tellings import AGAIN
from vlcourse.data.order import Order, Ordered
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.script import LONGEST, Script, check_seconds
from vlcourse.data.world.video_captions import captions, seen, told
from vlcourse.data.world.video_questions import VIDEO_KINDS, VideoQuestion, in_tags, questions
from vlcourse.data.world.words import check_seed, hash_int
from vlcourse.layers.ranges import RangeError

NO_FILM_LESSONS = (0, 0)
HARD = ("localisation", "localisation", "speech")
"""Kinds of questions that are asked more often than the others, as often as they stand here."""
_SEED = 185  # tells a film's seed from other draws of its number


def ask(question: VideoQuestion, brief: bool = False) -> str:
    """The words after which a reader gives the answer."""
    return question.brief if brief else f"{QUESTION.format(question.text)} {ANSWER}"


def check_films(
    lessons: Sequence[int], asked: int, brief: int, still: int, tags: int, again: int
) -> None:
    """RangeError if no texts can have these arguments."""
    if len(lessons) != 2 or min(lessons) < 0:
        raise RangeError(
            "lessons needs a number of documents, 0 or more, for lists and for films asked about "
            f"in brief; got {tuple(lessons)}"
        )
    for share, value in (("brief", brief), ("still", still), ("tags", tags), ("again", again)):
        if not 0 <= value <= 100:
            raise RangeError(f"{share} is a share in a hundred, 0 to 100; got {value}")
    if asked < 1:
        raise RangeError(f"asked, the questions of a document, must be at least 1; got {asked}")


class Films(Ordered):
    """Texts about films, map-style; document i depends on the arguments and i only.

    A sample is {"id", "kind": "list", "film", "film again" or one of a `Corpus`, "parts", "text"};
    of a film also "script" and "questions". Batches are of like length.

    Args:
        split: of the films: "train", "val", "test" or "heldout".
        n: number of documents.
        seed: another seed gives other documents.
        seconds: least and greatest duration of a film.
        asked: most questions about a film.
        brief: of a hundred films, about how many questions are asked in very few words.
        lessons: a curriculum: how many documents first are lists, and then films asked about in
            brief. An eighth of all that follows repeats what came before.
        tags: of a hundred films after the lessons, how many are told as tags at each second.
        again: of a hundred films after the lessons, how many are told again in other words, and not
            asked about.
        still: of a hundred documents, how many are about pictures: readings, retellings, facts and
            stories, and lists, as in the corpus of `llm-toy`.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    order = Order(shuffled=False, window=8)

    def __init__(
        self,
        split: str = "train",
        n: int = 50_000,
        seed: int = 0,
        seconds: tuple[int, int] = (4, LONGEST),
        asked: int = 10,
        brief: int = 30,
        lessons: Sequence[int] = NO_FILM_LESSONS,
        still: int = 0,
        tags: int = 0,
        again: int = 0,
    ) -> None:
        check_films(lessons, asked, brief, still, tags, again)
        self.split, self.n, self.seed = split, n, check_seed(seed)
        self.seconds, self.asked, self.brief = check_seconds(seconds), asked, brief
        self.lessons, self.still, self.tags, self.again = tuple(lessons), still, tags, again
        # After its curriculum, lists of things with sizes and of pairs are an eighth of a corpus.
        self.pictures = Corpus(
            split, n, seed, mixture=(80, 10, 4, 6), brief=70, focused=30, recall=(1, 0, 0, 0, 0)
        )
        self.name = f"films/{split}" + (f"-{seed}" if seed else "")

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many documents at once."""
        found: dict[int, dict[str, Any]] = {}
        wanted = [i % self.n for i in indices]
        still = [i for i in wanted if self._dice(i).below(100) < self.still]
        for i, sample in zip(
            still, self.pictures.__getitems__(still) if still else (), strict=True
        ):
            found[i] = sample
        for i in wanted:
            if i not in found:
                found[i] = self._document(i)
        return [found[i] for i in wanted]

    def _dice(self, i: int) -> Dice:
        return Dice(hash_int(self.seed, _SEED, i), "told of a film")

    def _document(self, i: int) -> dict[str, Any]:
        dice = self._dice(i)
        lists, briefly = self.lessons
        again = sum(self.lessons) and i % 8 == 0
        sample: dict[str, Any] = {"id": f"{self.name}/{i}", "kind": "list"}
        if i < lists or again:
            sample["parts"] = film_list(dice.bits, self.split)
        else:
            script = Script.sample(dice.bits, self.split, self.seconds)
            late = i >= lists + briefly
            if late and dice.below(100, at=32) < self.again:
                sample |= {"kind": "film again", "script": script, "questions": []}
                sample["parts"] = ((told(script), False), *said_again(script))
            else:
                brief = not late or dice.below(100, at=16) < self.brief
                as_tags = late and dice.below(100, at=24) < self.tags
                asked = self.choose(script, as_tags)
                sample |= {"kind": "film", "script": script, "questions": asked}
                sample["parts"] = film(script, asked, brief, as_tags)
        sample["text"] = " ".join(text for text, _ in sample["parts"])
        return sample

    def choose(self, script: Script, as_tags: bool = False) -> list[VideoQuestion]:
        """Questions about a film, in random order; each kind is as likely to be the next, but
        those of `HARD` are likelier."""
        pools = {kind: questions(script, (kind,), easy=True) for kind in VIDEO_KINDS}
        if as_tags:
            pools = {kind: [q for q in pool if in_tags(script, q)] for kind, pool in pools.items()}
        chosen: list[VideoQuestion] = []
        for turn in range(self.asked):
            left = [pools[kind] for kind in (*VIDEO_KINDS, *HARD) if pools[kind]]
            if not left:
                break
            dice = Dice(script.seed, "asked of a film", 1 << 20, turn)
            chosen.append(dice.take(dice.pick(left), at=16))
        return chosen


def said_again(script: Script, key: int = 0) -> tuple[Part, ...]:
    """ "in other words:" and all that is seen in a film, with its times or, half the time, as one
    sentence without them."""
    timeless = Dice(script.seed, "film said again", key).coin()
    again = f"{captions(script)[0]}." if timeless else told(script, heard=False)
    return ((AGAIN, False), (again, True))


def film(
    script: Script, asked: Sequence[VideoQuestion], brief: bool = False, as_tags: bool = False
) -> tuple[Part, ...]:
    """A film in words, then questions with their answers, each closed by a full stop."""
    parts: list[Part] = [((seen if as_tags else told)(script), False)]
    for question in asked:
        parts += [(ask(question, brief), False), (f"{question.answer}.", True)]
    return tuple(parts)
