"""The curriculum: its lists are true, its lessons come in order, and its batches are sorted."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from vlcourse.data.corpus import Corpus, lessons
from vlcourse.data.world import facts, scene
from vlcourse.data.world import words as world_words
from vlcourse.engine.batches import Batches


def test_a_curriculum_teaches_one_lesson_after_the_other():
    data = Corpus("train", 160, 3, recall=(16, 8, 8, 16, 24))
    samples = data.__getitems__(range(160))
    kinds = [s["kind"] for s in samples]
    assert kinds[:48] == ["recall"] * 48
    assert Counter(kinds[48:72]) == {"recall": 12, "reading": 12}
    assert Counter(kinds[72:])["recall"] == 11  # one of eight goes over the lists again
    texts = [s["text"] for s in samples]
    assert not any(" is " in text or "small" in text for text in texts[:17])
    assert all("small" in text for text in texts[17:25] + texts[32:33])
    assert all(" is " in text and "yes" not in text for text in texts[25:32])
    assert any("yes" in text for text in texts[33:40])
    asked = [q for s in samples[48:72] if s["kind"] == "reading" for q in s["questions"]]
    assert {q.kind for q in asked} == {"relation", "comparison"}


def test_batches_of_a_curriculum_keep_its_order_but_for_their_lengths():
    data = Corpus("train", 160, 3, recall=(64, 64, 0, 0, 0))
    order = Batches(data, lambda samples, generator: samples, 8, seed=1)
    read = [order[i] for i in range(20)]
    for first in (0, 8, 16):  # eight batches share out their samples by length
        window = [sample for batch in read[first : first + 8] for sample in batch]
        ids = {s["id"] for s in data.__getitems__(range(8 * first, min(8 * first + 64, 160)))}
        assert {s["id"] for s in window} == ids and len(window) == len(ids)
        spans = sorted([len(s["text"]) for s in batch] for batch in read[first : first + 8])
        assert all(max(a) <= min(b) for a, b in pairwise(spans))
    assert [len(batch[0]["text"]) for batch in read] != sorted(len(b[0]["text"]) for b in read)
    assert [s["id"] for s in order[3]] == [s["id"] for s in read[3]]  # whenever it is read
    assert {s["id"] for i in (20, 27) for s in order[i]} < {
        s["id"] for s in data.__getitems__(range(64))
    }


def test_ranks_share_a_sorted_batch():
    data = Corpus("train", 160, 3)
    whole = Batches(data, lambda samples, generator: samples, 8, seed=1)[13]
    halves = [
        Batches(data, lambda samples, generator: samples, 8, 1, rank, 2)[13] for rank in (0, 1)
    ]
    assert [s["id"] for half in halves for s in half] == [s["id"] for s in whole]


def test_recall_of_things_is_answered_by_its_list():
    for i in range(50):
        text = " ".join(part for part, _ in lessons.things(scene.Scene.sample(i, "train", 3)))
        things = dict(re.findall(r"an? (\w+) (\w+)[,.]", text))
        asked = re.findall(r"(\w+)\? (\w+)\.", text)
        assert len(asked) == lessons.RECALLS
        for key, value in asked:
            assert things.get(key) == value or things.get(value) == key


def test_lists_with_sizes_are_answered_by_their_things():
    answers: Counter[str] = Counter()
    for i in range(300):
        parts = lessons.sizes(scene.Scene.sample(i, "train", 3))
        told = re.findall(r"(small|large) (\w+) (\w+)[,.]", parts[0][0])
        assert {size for size, *_ in told} == {"small", "large"} and 2 <= len(told) <= 6
        assert len({thing[1:] for thing in told}) == len(told)
        assert len(parts) == 1 + 2 * lessons.RECALLS
        for (question, asked), (answer, learned) in zip(parts[1::2], parts[2::2], strict=True):
            assert learned and not asked
            question, answer = question.rstrip("?"), answer.rstrip(".")
            if found := re.fullmatch(r"(\w+ \w+) bigger than (\w+ \w+)", question):
                a, b = ({f"{c} {s}": size for size, c, s in told}[name] for name in found.groups())
                assert a != b and answer == ("yes" if a == "large" else "no")
            elif answer.isdigit():
                word = question.removesuffix(" objects") if " " in question else question[:-1]
                word = word.removesuffix("e") if word == "crosse" else word
                assert int(answer) == sum(word in thing for thing in told)
                answer = "number"
            else:
                words = set(question.removesuffix(" object").split())
                (thing,) = [thing for thing in told if words < set(thing)]
                assert set(thing) - words == {answer}
                twin = any(len(words & set(other)) == 1 for other in told if other != thing)
                answer = "size" if answer in world_words.SIZES else f"twin {twin}"
            answers[answer] += 1
    assert min(answers[name] for name in ("yes", "no", "number", "size", "twin True")) > 200


SAME = {"higher than": "above", "lower than": "below"}
RELATED = r"(above|below|higher than|lower than|(?:to the |on the )?(?:left|right) of)"


def test_recall_of_relations_is_answered_by_its_sentences():
    answers: Counter[str] = Counter()
    for i in range(200):
        parts = lessons.pairs(scene.Scene.sample(i, "train", 3), mixed=True)
        known = set()
        for a, words, b in re.findall(rf"the \w+ (\w+) is {RELATED} the \w+ (\w+)\.", parts[0][0]):
            relation = SAME.get(words, " ".join(words.split()[-2:]))
            known |= {(a, relation, b), (b, facts.OPPOSITE[relation], a)}
        assert 2 <= len(known) <= 6
        for (question, asked), (answer, learned) in zip(parts[1::2], parts[2::2], strict=True):
            assert learned and not asked
            if full := re.fullmatch(rf"\w+ (\w+) {RELATED} \w+ (\w+)\?", question):
                assert answer == ("yes." if full.groups() in known else "no.")
                answers[answer] += 1
            elif start := re.fullmatch(r"\w+ (\w+) is\?", question):
                relation, other = re.fullmatch(rf"{RELATED} \w+ (\w+)\.", answer).groups()
                assert (start[1], relation, other) in known
            else:
                other, relation = answer.rstrip(".").split(" ", 1)
                assert (question.rstrip("?"), relation, other) in known
    assert 0.45 < answers["yes."] / answers.total() < 0.55 and answers.total() > 700
