"""A corpus of text about the toy world, for language models: made on demand, split by composition.

Four kinds of documents. "reading": a scene is described, then questions about it are asked and
answered. "retelling": a scene is told twice, in different words. "facts": a scene is described,
then some of what follows from the description is stated (numbers, comparisons, relations). "story":
a short story. And "recall", which comes first: a list of things, and very short questions about
it. Scenes come from the splits of `vlcourse.data.world`, so that a held-out pair of
colour and shape is never read in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import torch

from vlcourse.data.describe import Description, describe
from vlcourse.data.facts import SPATIAL, Comparison, Count, Fact, HasObject, Relation, Thing
from vlcourse.data.language import relation_words
from vlcourse.data.questions import QUESTION_KINDS, Question, turned, whether
from vlcourse.data.scene import Scene
from vlcourse.data.splits import SIZES, allowed_pairs, check_choice, hash_int
from vlcourse.data.stories import story
from vlcourse.data.world import World

DOCUMENT_KINDS: tuple[str, ...] = ("reading", "retelling", "facts", "story")
RECALLS = 12  # questions in a document of kind "recall"
HARD_KINDS = ("relation", "comparison")
QUESTION, ANSWER, AGAIN = "question: {}", "answer:", "in other words:"

Part = tuple[str, bool]
"""A piece of text, and whether a model is to learn to write it."""


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
        return f"{fact.a.noun()} {fact.relation} {fact.b.noun()}?"
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
        recall: the first so many documents are of kind "recall". With more than none of them the
            documents are to be read in their order: a curriculum.
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
        recall: int = 0,
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
        self.recall, self.learn_all = recall, learn_all
        self.in_order = recall > 0
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
            kind = "recall" if i < self.recall else self._kind(hash_int(scene.seed, 81) % 100)
            sample: dict[str, Any] = {"id": f"{self.name}/{i}", "kind": kind, "scene": scene}
            if kind == "reading":
                told = describe(scene.objects, scene.seed)
                brief = hash_int(scene.seed, 87) % 100 < self.brief
                sample["questions"] = self.choose(scene, told, (1 + brief) * self.asked)
                sample["parts"] = reading(told, sample["questions"], self.learn_all, brief)
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

    def choose(
        self, scene: Scene, told: Description, most: int, to_learn: bool = True
    ) -> list[Question]:
        """Up to ``most`` questions that the description answers, of all kinds, in random order.

        Where they are ``to_learn`` from, relations and comparisons, the hardest to learn, get a
        double share, and relations are mostly asked about as they were told (see `draw_turn`).
        """
        by_kind: dict[str, list[Question]] = {kind: [] for kind in self.kinds}
        for question in scene.questions():
            if question.kind == "relation":
                continue  # of those, only what was told
            if question.kind in by_kind and told.tells(question.fact, scene.objects):
                by_kind[question.kind] += [question, *turned(question)]
        for relation in told.relations if "relation" in by_kind else ():
            as_told = Question(whether(relation), "yes", "relation", relation)
            by_kind["relation"] += [as_told, *turned(as_told)]
        ways = dict(zip(by_kind.get("relation", ()), cycle(range(4)), strict=False))
        chosen: list[Question] = []
        turns = [*self.kinds, *(kind for kind in HARD_KINDS if to_learn and kind in self.kinds)]
        for turn in range(most):
            pools = [by_kind[kind] for kind in turns if by_kind[kind]]
            if not pools:
                break
            h = hash_int(scene.seed, 82, turn)
            pool = pools[h % len(pools)]
            places = list(range(len(pool)))
            if to_learn and pool is by_kind.get("relation"):
                way = draw_turn(h >> 8)
                places = [i for i in places if ways[pool[i]] == way] or places
            chosen.append(pool.pop(places[(h >> 16) % len(places)]))
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


def _recall(scene: Scene) -> tuple[Part, ...]:
    """A list of things or of relations, and two dozen questions of two or three words.

    The least that needs binding, many times: from this the mechanism is learned within minutes,
    and full sentences then use it (Arora et al. 2023, "Zoology": multi-query associative recall).
    """
    way = hash_int(scene.seed, 90) % 4
    if way == 3:
        return _recall_relations(scene)
    things = _different_things(scene, 2 + hash_int(scene.seed, 91) % 5)
    size = [SIZES[hash_int(scene.seed, 94, i) & 1] if way == 2 else None for i in range(6)]
    named = [Thing(t.colour, t.shape, s) for t, s in zip(things, size, strict=False)]
    parts: list[Part] = [(f"{', '.join(map(str, named))}.", False)]
    for i in range(RECALLS):
        h = hash_int(scene.seed, 93, i)
        thing = named[(h >> 8) % len(named)]
        if thing.size:  # of a thing, its size
            key, value = f"{thing.colour} {thing.shape}", thing.size
        else:  # of its shape, the colour; or the other way round
            pair = (str(thing.shape), str(thing.colour))
            key, value = pair if h & 1 else pair[::-1]
        parts += [(f"{key}?", False), (f"{value}.", True)]
    return tuple(parts)


def _recall_relations(scene: Scene) -> tuple[Part, ...]:
    things = _different_things(scene, 2 * (1 + hash_int(scene.seed, 91) % 3))
    told = []
    for i, (a, b) in enumerate(zip(things[::2], things[1::2], strict=True)):
        told.append(Relation(a, SPATIAL[hash_int(scene.seed, 94, i) % len(SPATIAL)], b))
    sentences = (
        f"the {r.a.noun()} is {relation_words(r.relation, hash_int(scene.seed, 95, i))} "
        f"the {r.b.noun()}."
        for i, r in enumerate(told)
    )
    parts: list[Part] = [(" ".join(sentences), False)]
    for i in range(RECALLS):
        h = hash_int(scene.seed, 93, i)
        one = told[(h >> 16) % len(told)]
        question = Question("", "yes", "relation", one)
        question = [question, *turned(question)][draw_turn(h)]
        parts += [(ask(question, brief=True), False), (f"{question.answer}.", True)]
    return tuple(parts)


def _different_things(scene: Scene, count: int) -> list[Thing]:
    """Things that may be named in the scene's split; up to 6 of different colours and shapes."""
    pairs, chosen = list(allowed_pairs(scene.split)), list[Thing]()
    while len(chosen) < count:
        colour, shape = pairs.pop(hash_int(scene.seed, 92, len(pairs)) % len(pairs))
        if not any(colour == thing.colour or shape == thing.shape for thing in chosen):
            chosen.append(Thing(colour, shape))
    return chosen


def draw_turn(h: int) -> int:
    """Which way round a relation is asked about, as an index into [as told, *turned(as told)].

    As told 36 %, only the things exchanged 25 %, both the things and the word for the relation
    15 %, only the word 24 %. Were it a quarter each, neither the order nor the word would tell
    anything of the answer, and nothing is harder to learn than that two things matter together (an
    exclusive or). So the reader first learns to find again what was said, and then the rest.
    """
    return next(i for i, share in enumerate((36, 61, 76, 100)) if h % 100 < share)


def _story(scene: Scene) -> tuple[Part, ...]:
    return ((story(scene.objects, scene.seed), True),)


_WRITERS = {"recall": _recall, "retelling": _retelling, "facts": _facts, "story": _story}


def sentences(n: int, seed: int = 0, split: str = "train") -> Iterator[str]:
    """The texts of ``n`` documents of all kinds."""
    corpus = Corpus(split, n, seed, objects=(1, 4))
    for start in range(0, n, 256):
        for sample in corpus.__getitems__(range(start, min(start + 256, n))):
            yield sample["text"]
