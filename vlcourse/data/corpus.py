"""A corpus of text about the toy world, for language models: made on demand, split by composition.

Four kinds of documents. "reading": a scene is described, then questions about it are asked and
answered. "retelling": a scene is told twice, in different words. "facts": a scene is described,
then some of what follows from the description is stated (numbers, comparisons, relations). "story":
a short story. And "recall", which comes first: `vlcourse.data.recall`. Scenes come from the splits of `vlcourse.data.world`, so that a held-out pair of
colour and shape is never read in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vlcourse.data import recall as lists
from vlcourse.data.describe import Description, describe
from vlcourse.data.facts import Comparison, Count, Fact, HasObject, Relation, Thing
from vlcourse.data.questions import QUESTION_KINDS, Question, turned, whether
from vlcourse.data.recall import Part, brief_relation
from vlcourse.data.scene import Scene
from vlcourse.data.splits import check_choice, hash_int
from vlcourse.data.stories import story
from vlcourse.data.world import World

DOCUMENT_KINDS: tuple[str, ...] = ("reading", "retelling", "facts", "story")
HARD_KINDS = ("relation", "comparison", "count")
QUESTION, ANSWER, AGAIN = "question: {}", "answer:", "in other words:"


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


class Corpus(torch.utils.data.Dataset[dict[str, Any]]):
    """Documents about toy scenes, map-style; document i depends on the arguments and i only.

    A sample is {"id", "kind", "parts": pieces of text that are joined by spaces, each with whether
    it is to be learned, "text": the whole, "scene"}; of kind "reading" also "questions", those
    asked.

    Args:
        split: of the scenes: "train", "val", "test" or "heldout".
        n: number of documents.
        seed: another seed gives other documents.
        mixture: how many in a hundred are of each kind of `DOCUMENT_KINDS`.
        objects: least and greatest number of objects in a scene.
        asked: questions in a document of kind "reading", spread over the kinds of questions.
        kinds: kinds of questions to ask.
        brief: of a hundred documents of kind "reading", how many ask in brief, and twice as much.
        recall: a curriculum, which is to be read in order. The first so many documents are lists of
            things, the next so many are pairs that stand in a relation, the next so many ask about
            pairs in all ways, and the next so many also about relations in descriptions.
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
        recall: tuple[int, int, int, int] = (0, 0, 0, 0),
        focused: int = 0,
        learn_all: bool = False,
    ) -> None:
        if len(mixture) != len(DOCUMENT_KINDS) or sum(mixture) != 100 or min(mixture) < 0:
            raise ValueError(
                f"mixture needs a share in a hundred for each of {', '.join(DOCUMENT_KINDS)}; "
                f"got {tuple(mixture)}"
            )
        if asked < 1:
            raise ValueError(f"asked, the questions of a document, must be at least 1; got {asked}")
        self.kinds = tuple(check_choice("question kind", kind, QUESTION_KINDS) for kind in kinds)
        self.world = World(split, n, 32, objects, seed)
        self.mixture, self.asked, self.brief = tuple(mixture), asked, brief
        self.recall, self.focused, self.learn_all = recall, focused, learn_all
        self.in_order = sum(recall) > 0
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
            kind = self._lesson(i) or self._kind(hash_int(scene.seed, 81) % 100)
            sample: dict[str, Any] = {"id": f"{self.name}/{i}", "kind": kind, "scene": scene}
            if kind == "reading":
                told = describe(scene.objects, scene.seed)
                brief, kinds = self._ways(i, scene)
                most = (1 + brief) * self.asked
                sample["questions"] = self.choose(scene, told, most, kinds)
                sample["parts"] = reading(told, sample["questions"], self.learn_all, brief)
            elif kind == "recall":
                sample["parts"] = self._list(i, scene)
            else:
                sample["parts"] = _WRITERS[kind](scene)
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
        """The kind of document i as the curriculum has it; None after its end."""
        lists_only = sum(self.recall[:3])
        if i < lists_only:
            return "recall"
        if i < lists_only + self.recall[3]:
            return "recall" if i % 8 < 3 else "reading"
        return None

    def _list(self, i: int, scene: Scene) -> tuple[Part, ...]:
        things, pairs, mixed, _ = self.recall
        if i < things or (i >= things + pairs + mixed and i % 8 == 0):
            return lists.things(scene)
        return lists.pairs(scene, mixed=i >= things + pairs)

    def _ways(self, i: int, scene: Scene) -> tuple[bool, Sequence[str]]:
        """Whether a document asks in brief, and of which kinds."""
        brief = hash_int(scene.seed, 87) % 100 < self.brief
        if i < sum(self.recall):
            return brief, ("relation",)
        h = hash_int(scene.seed, 88)
        if h % 100 < self.focused:
            kinds = [*self.kinds, *(kind for kind in HARD_KINDS if kind in self.kinds)]
            return brief, (kinds[(h >> 8) % len(kinds)],)
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

        They are of these ``kinds``, or of all. Where they are ``to_learn`` from, the hardest kinds
        get a double share.
        """
        by_kind: dict[str, list[Question]] = {kind: [] for kind in kinds or self.kinds}
        for question in scene.questions():
            if question.kind == "relation":
                continue  # of those, only what was told
            if question.kind in by_kind and told.tells(question.fact, scene.objects):
                by_kind[question.kind] += [question, *turned(question)]
        for relation in told.relations if "relation" in by_kind else ():
            as_told = Question(whether(relation), "yes", "relation", relation)
            by_kind["relation"] += [as_told, *turned(as_told)]
        chosen: list[Question] = []
        turns = [*by_kind, *(kind for kind in HARD_KINDS if to_learn and kind in by_kind)]
        for turn in range(most):
            pools = [by_kind[kind] for kind in turns if by_kind[kind]]
            if not pools:
                break
            h = hash_int(scene.seed, 82, turn)
            pool = pools[h % len(pools)]
            chosen.append(pool.pop((h >> 16) % len(pool)))
        return chosen


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


def _retelling(scene: Scene) -> tuple[Part, ...]:
    told = describe(scene.objects, scene.seed)
    if hash_int(scene.seed, 83) % 2:
        again = describe(scene.objects, hash_int(scene.seed, 84), relations=0).text
    else:
        possible = [
            caption
            for caption in scene.captions()
            if all(told.implies(fact, scene.objects) for fact in caption.facts)
        ]
        again = f"{possible[hash_int(scene.seed, 85) % len(possible)]}."
    return ((told.text, True), (f"{AGAIN} {again}", True))


def _facts(scene: Scene) -> tuple[Part, ...]:
    told = describe(scene.objects, scene.seed)
    known = [
        question.fact
        for question in scene.questions()
        if question.kind not in ("colour", "shape") and told.implies(question.fact, scene.objects)
    ]
    parts: list[Part] = [(told.text, True)]
    for i in range(min(5, len(known))):
        fact = known.pop(hash_int(scene.seed, 86, i) % len(known))
        parts.append((f"{_stated(fact)}.", True))
    return tuple(parts)


def _stated(fact: Fact) -> str:
    """A fact as a sentence."""
    if isinstance(fact, Count):
        verb = "is" if fact.n == 1 else "are"
        return f"there {verb} {fact.n} {fact.thing.noun(fact.n)}"
    if isinstance(fact, Relation):
        return f"the {fact.a.noun()} is {fact.relation} the {fact.b.noun()}"
    assert isinstance(fact, (HasObject, Comparison))
    return str(fact)


def _story(scene: Scene) -> tuple[Part, ...]:
    return ((story(scene.objects, scene.seed), True),)


_WRITERS = {"retelling": _retelling, "facts": _facts, "story": _story}


def sentences(n: int, seed: int = 0, split: str = "train") -> Iterator[str]:
    """The texts of ``n`` documents of all kinds."""
    corpus = Corpus(split, n, seed, objects=(1, 4))
    for start in range(0, n, 256):
        for sample in corpus.__getitems__(range(start, min(start + 256, n))):
            yield sample["text"]
