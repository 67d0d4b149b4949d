"""A corpus of text about the toy world, for language models: made on demand, split by composition.

Four kinds of documents. "reading": a scene is described, then questions about it are asked and
answered. "retelling": a scene is told twice, in different words. "facts": a scene is described,
then some of what follows from the description is stated (numbers, comparisons, relations). "story":
a short story. And "recall", which comes first: `vlcourse.data.corpus.lessons`. Scenes come from the
splits of `vlcourse.data.world.dataset`, so that a held-out pair of colour and shape is never
read in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from vlcourse.data.corpus import lessons as lists
from vlcourse.data.corpus import tellings
from vlcourse.data.corpus.describe import Description, describe
from vlcourse.data.corpus.lessons import Part, brief_relation
from vlcourse.data.order import Order, Ordered
from vlcourse.data.world import World
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import Comparison, Count, HasObject, Relation, Thing, count
from vlcourse.data.world.questions import QUESTION_KINDS, Question, turned, whether
from vlcourse.data.world.scene import Scene
from vlcourse.data.world.words import check_choice
from vlcourse.layers.ranges import RangeError

DOCUMENT_KINDS: tuple[str, ...] = ("reading", "retelling", "facts", "story")
HARD_KINDS = ("relation", "comparison", "count")
SUBTOPICS = ("by size", "bigger")  # what is hard in questions of colour and shape, in comparisons
HARD = (*HARD_KINDS, *SUBTOPICS)
NO_LESSONS = (0,) * len(lists.LESSONS)
QUESTION, ANSWER = "question: {}", "answer:"


def ask(question: Question, brief: bool = False) -> str:
    """The words after which a reader gives the answer.

    In brief, "what colour is the circle?" is "circle?" and "is there a red ring?" is "a red ring?":
    the answer then stands next to what it depends on, which is far easier to learn from.
    """
    if not brief:
        return f"{QUESTION.format(question.text)} {ANSWER}"
    fact = question.fact
    if isinstance(fact, Count):
        return f"{fact.thing.noun(2)}?"
    if isinstance(fact, Relation):
        return f"{brief_relation(fact)}?"
    if isinstance(fact, Comparison):
        return f"more {fact.a.noun(2)} than {fact.b.noun(2)}?"
    if question.kind == "colour":
        return f"{Thing(None, fact.thing.shape, fact.thing.size).noun()}?"
    if question.kind == "shape":
        return f"{Thing(fact.thing.colour, None, fact.thing.size).noun()}?"
    return f"{fact.thing}?"


def check_documents(
    mixture: Sequence[int], recall: Sequence[int], asked: int, brief: int, focused: int
) -> None:
    """RangeError if no corpus can have these arguments."""
    if len(mixture) != len(DOCUMENT_KINDS) or sum(mixture) != 100 or min(mixture) < 0:
        raise RangeError(
            f"mixture needs a share in a hundred for each of {', '.join(DOCUMENT_KINDS)}; "
            f"got {tuple(mixture)}"
        )
    if len(recall) != len(lists.LESSONS) or min(recall) < 0:
        raise RangeError(
            "recall needs a number of documents, 0 or more, for each of "
            f"{', '.join(lists.LESSONS)}; got {tuple(recall)}"
        )
    for share, value in (("brief", brief), ("focused", focused)):
        if not 0 <= value <= 100:
            raise RangeError(f"{share} is a share in a hundred, 0 to 100; got {value}")
    if asked < 1:
        raise RangeError(f"asked, the questions of a document, must be at least 1; got {asked}")


class Corpus(Ordered):
    """Documents about toy scenes, map-style; document i depends on the arguments and i only.

    A sample is {"id", "kind", "parts": pieces of text that are joined by spaces, each with whether
    it is to be learned, "text": the whole, "scene"}; of kind "reading" also "questions", those
    asked.

    Batches of a corpus are sorted by length within eight batches, so that little is padding.

    Args:
        split: of the scenes: "train", "val", "test" or "heldout".
        n: number of documents.
        seed: another seed gives other documents.
        mixture: how many in a hundred are of each kind of `DOCUMENT_KINDS`.
        objects: least and greatest number of objects in a scene.
        asked: questions in a document of kind "reading", spread over the kinds of questions.
        kinds: kinds of questions to ask.
        brief: of a hundred documents of kind "reading", how many ask in brief, and twice as much.
        recall: a curriculum, which is to be read in order: how many documents teach each of
            `recall.LESSONS`. Lists of things; of things with their sizes; pairs that stand in a
            relation; pairs, asked about in all ways; then relations and comparisons in
            descriptions. Lists of the lessons before are mixed in, also afterwards.
        focused: of a hundred documents of kind "reading", how many ask of one kind only.
        learn_all: in "reading", learn the description and the questions too, not the answers only.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    def __init__(
        self,
        split: str = "train",
        n: int = 50_000,
        seed: int = 0,
        mixture: Sequence[int] = (55, 20, 10, 15),
        objects: tuple[int, int] = (2, 4),
        asked: int = 8,
        kinds: Sequence[str] = QUESTION_KINDS,
        brief: int = 50,
        recall: Sequence[int] = NO_LESSONS,
        focused: int = 0,
        learn_all: bool = False,
    ) -> None:
        check_documents(mixture, recall, asked, brief, focused)
        self.kinds = tuple(check_choice("question kind", kind, QUESTION_KINDS) for kind in kinds)
        self.world = World(split, n, 32, objects, seed)
        self.mixture, self.asked, self.brief = tuple(mixture), asked, brief
        self.recall, self.focused, self.learn_all = tuple(recall), focused, learn_all
        self.order = Order(shuffled=sum(recall) == 0, window=8)
        self.name = f"corpus/{split}" + (f"-{seed}" if seed else "")

    def __len__(self) -> int:
        return len(self.world)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many documents at once, which is faster than one by one."""
        samples = []
        scenes = self.world.scenes(indices)
        for i, scene in zip((i % len(self) for i in indices), scenes, strict=True):
            lesson = self._lesson(i)
            listed = self._list(i, lesson)
            if listed:
                kind = "recall"
            else:
                kind = (
                    "reading"
                    if lesson
                    else self._kind(Dice(scene.seed, "kind of document").below(100))
                )
            sample: dict[str, Any] = {"id": f"{self.name}/{i}", "kind": kind, "scene": scene}
            if kind == "reading":
                told = describe(scene.objects, scene.seed)
                brief, kinds = self._ways(i, scene, lesson)
                most = (1 + brief) * self.asked
                chosen = self.choose(scene, told, most, kinds)
                sample["questions"] = chosen or self.choose(scene, told, most)
                sample["parts"] = reading(told, sample["questions"], self.learn_all, brief)
            else:
                sample["parts"] = (_LISTS[listed] if listed else _WRITERS[kind])(scene)
            sample["text"] = " ".join(text for text, _ in sample["parts"])
            samples.append(sample)
        return samples

    def _kind(self, draw: int) -> str:
        for kind, share in zip(DOCUMENT_KINDS, self.mixture, strict=True):
            draw -= share
            if draw < 0:
                return kind
        raise AssertionError("the shares sum to 100")

    def _lesson(self, i: int) -> str | None:
        """Which of `recall.LESSONS` document i belongs to; None after the curriculum."""
        for lesson, documents in zip(lists.LESSONS, self.recall, strict=True):
            i -= documents
            if i < 0:
                return lesson
        return None

    def _list(self, i: int, lesson: str | None) -> str | None:
        """Which lesson's list document i is, if it is one: later documents repeat earlier lists."""
        turn = i % 8
        if lesson == "descriptions":
            return ("things", "sizes", "ways", "ways")[turn] if turn < 4 else None
        if lesson is None:
            return ("sizes", "ways")[i // 8 % 2] if sum(self.recall) and turn == 0 else None
        before = {"sizes": "things", "pairs": "sizes", "ways": "sizes"}
        return before.get(lesson, lesson) if turn == 0 else lesson

    def _ways(self, i: int, scene: Scene, lesson: str | None) -> tuple[bool, Sequence[str]]:
        """Whether a document asks in brief, and of which kinds."""
        brief = Dice(scene.seed, "brief").below(100) < self.brief
        if lesson:
            return brief, ("comparison",) if i % 8 == 7 else ("relation",)
        dice = Dice(scene.seed, "focus")
        if dice.below(100) < self.focused:
            kinds = [*self.kinds, *(kind for kind in HARD_KINDS if kind in self.kinds)]
            return brief, (dice.pick(kinds, at=8),)
        return brief, self.kinds

    def choose(
        self,
        scene: Scene,
        told: Description,
        most: int,
        kinds: Sequence[str] | None = None,
        to_learn: bool = True,
    ) -> list[Question]:
        """Up to ``most`` questions that the description answers, in random order.

        They are of these ``kinds``, or of all. Where they are ``to_learn`` from, what is hardest
        gets a double share.
        """
        wanted = kinds or self.kinds
        by_topic = {name: list[Question]() for name in (*wanted, *SUBTOPICS)}
        for question in scene.questions():
            if question.kind == "relation":
                continue  # of those, only what was told
            if question.kind in wanted and told.tells(question.fact, scene.objects):
                pool = by_topic[topic(question, scene) if to_learn else question.kind]
                pool += [question, *turned(question)]
        for relation in told.relations if "relation" in wanted else ():
            as_told = Question(whether(relation), "yes", "relation", relation)
            by_topic["relation"] += [as_told, *turned(as_told)]
        chosen: list[Question] = []
        turns = [*by_topic, *(name for name in HARD if to_learn and name in by_topic)]
        for turn in range(most):
            pools = [by_topic[name] for name in turns if by_topic[name]]
            if not pools:
                break
            dice = Dice(scene.seed, "question", turn)
            chosen.append(dice.take(dice.pick(pools), at=16))
        return chosen


def topic(question: Question, scene: Scene) -> str:
    """The kind of a question; or its subtopic, "bigger" (two sizes are compared) or "by size" (the
    colour or shape of "the small circle", when there is another circle)."""
    fact = question.fact
    if isinstance(fact, Relation) and fact.relation == "bigger than":
        return "bigger"
    if isinstance(fact, HasObject) and question.kind != "existence" and fact.thing.size:
        colour_asked = question.kind == "colour"
        same = Thing(None, fact.thing.shape) if colour_asked else Thing(fact.thing.colour)
        return "by size" if count(scene.objects, same) > 1 else question.kind
    return question.kind


def reading(
    told: Description,
    questions: Sequence[Question],
    learn_all: bool = False,
    brief: bool = False,
) -> tuple[Part, ...]:
    """A description, then questions with their answers, each answer closed by a full stop."""
    parts: list[Part] = [(told.text, learn_all)]
    for question in questions:
        parts += [(ask(question, brief), learn_all), (f"{question.answer}.", True)]
    return tuple(parts)


_LISTS: dict[str, Callable[[Scene], tuple[Part, ...]]] = {
    "things": lists.things,
    "sizes": lists.sizes,
    "pairs": partial(lists.pairs, mixed=False),
    "ways": partial(lists.pairs, mixed=True),
}
_WRITERS = {"retelling": tellings.retelling, "facts": tellings.facts, "story": tellings.told_story}


def sentences(n: int, seed: int = 0, split: str = "train") -> Iterator[str]:
    """The texts of ``n`` documents of all kinds."""
    corpus = Corpus(split, n, seed, objects=(1, 4))
    for start in range(0, n, 256):
        for sample in corpus.__getitems__(range(start, min(start + 256, n))):
            yield sample["text"]
