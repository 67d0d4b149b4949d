"""The toy corpus: true, complete, balanced, and split by composition."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
import torch

from vlcourse.data.collate import text
from vlcourse.data.corpus import DOCUMENT_KINDS, Corpus, corpus, describe, tellings
from vlcourse.data.world import facts, questions, scene, words
from vlcourse.engine.batches import Batches
from vlcourse.tokenizers.sentence_bpe import FastSentenceBPE
from vlcourse.tokenizers.sentence_training import train_sentence_bpe

SHARES = {kind: tuple(100 * (k == kind) for k in DOCUMENT_KINDS) for kind in DOCUMENT_KINDS}


@pytest.fixture(scope="module")
def readings() -> list[dict]:
    return Corpus("train", 300, 3, SHARES["reading"], brief=0).__getitems__(range(300))


@pytest.fixture(scope="module")
def tokenizer() -> FastSentenceBPE:
    return FastSentenceBPE(train_sentence_bpe(corpus.sentences(300, 1), 700))


def test_a_document_depends_on_its_number_only():
    one, two = Corpus("train", 50, 5), Corpus("train", 500, 5)
    assert [one[i]["parts"] for i in (0, 7)] == [s["parts"] for s in two.__getitems__([0, 7])]
    assert one[0]["text"] != Corpus("train", 50, 6)[0]["text"]
    with pytest.raises(IndexError, match="no sample 50"):
        one[50]


def test_the_kinds_come_in_their_shares():
    kinds = Counter(s["kind"] for s in Corpus("train", 2000).__getitems__(range(2000)))
    for kind, share in zip(DOCUMENT_KINDS, (55, 20, 10, 15), strict=True):
        assert abs(kinds[kind] / 2000 - share / 100) < 0.04


def test_what_is_described_is_there_and_nothing_else(readings):
    for sample in readings:
        told = describe.describe(sample["scene"].objects, sample["scene"].seed)
        text = re.sub(r"\b(crosse|square|circle|triangle|star|ring)s\b", "", told.text)
        for obj in sample["scene"].objects:
            pair = f"{obj.colour} {obj.shape}"
            assert f"{obj.size} {pair}" in text or f"{pair} is {obj.size}" in text
        named = set(re.findall(rf"({'|'.join(words.COLOURS)}) ({'|'.join(words.SHAPES)})", text))
        assert named == {(o.colour, o.shape) for o in sample["scene"].objects}
        assert all(facts.holds(fact, sample["scene"].objects) for fact in told.relations)


def test_answers_are_true_and_known_from_the_text(readings):
    for sample in readings:
        objects = sample["scene"].objects
        told = describe.describe(objects, sample["scene"].seed)
        assert len(sample["questions"]) == 8
        for question in sample["questions"]:
            assert told.tells(question.fact, objects)
            wanted = question.answer != "no"
            assert facts.holds(question.fact, objects) == wanted
            assert f"{corpus.ask(question)} {question.answer}." in sample["text"]


def test_a_turned_question_has_a_true_answer(readings):
    seen = Counter()
    for sample in readings:
        for question in sample["questions"]:
            for other in questions.turned(question):
                assert other.text != question.text and other.kind == question.kind
                truth = facts.holds(other.fact, sample["scene"].objects)
                assert truth == (other.answer == "yes")
                seen[other.kind, other.answer] += 1
    assert set(seen) == {(k, a) for k in ("relation", "comparison") for a in ("yes", "no")}


def test_brief_questions_have_the_same_answers():
    long, brief = (Corpus("train", 50, 3, SHARES["reading"], brief=b) for b in (0, 100))
    for a, b in zip(long.__getitems__(range(50)), brief.__getitems__(range(50)), strict=True):
        assert [q.text for q in b["questions"][:8]] == [q.text for q in a["questions"]]
        assert len(b["questions"]) > 8 and "question:" not in b["text"]
        assert (
            f"{corpus.ask(b['questions'][0], brief=True)} {b['questions'][0].answer}." in b["text"]
        )


def test_focused_documents_ask_of_one_kind():
    for share in (0, 100):
        data = Corpus("train", 60, 3, SHARES["reading"], focused=share, asked=12)
        samples = data.__getitems__(range(60))
        single = sum(len({q.kind for q in s["questions"]}) <= 1 for s in samples)  # or none
        assert single >= 55 if share else single == 0  # where a scene has none, it asks of all
        assert all(s["questions"] for s in samples)


def test_what_is_hardest_is_asked_more_often_to_learn_from():
    data, asked = Corpus("train", 200, 3, SHARES["reading"]), Counter()
    for sample in data.__getitems__(range(200)):
        told = describe.describe(sample["scene"].objects, sample["scene"].seed)
        for to_learn in (True, False):
            for question in data.choose(sample["scene"], told, 8, to_learn=to_learn):
                asked[to_learn, corpus.topic(question, sample["scene"])] += 1
    for topic in corpus.SUBTOPICS:
        assert asked[True, topic] > 1.2 * asked[False, topic] > 10
    assert asked[True, "relation"] > asked[False, "relation"] > 100  # no topic of another kind
    for to_learn in (True, False):
        assert sum(n for (learn, _), n in asked.items() if learn == to_learn) == 1600


def test_a_relation_that_is_not_stated_is_not_known():
    objects = scene.Scene.sample(4, "train", 3).objects
    told = describe.describe(objects, 0, relations=0)
    a, b = (facts.Thing(o.colour, o.shape) for o in objects[:2])
    assert told.relations == () and not told.tells(facts.Relation(a, "above", b), objects)
    assert told.tells(facts.HasObject(a), objects)
    stated = describe.describe(objects, 0)
    one = stated.relations[0]
    turned = facts.Relation(one.b, facts.OPPOSITE[one.relation], one.a)
    assert stated.tells(turned, objects) and stated.implies(turned, objects)
    assert not stated.implies(facts.Relation(one.b, one.relation, one.a), objects)


def test_yes_and_no_are_balanced_in_every_kind():
    answers: Counter[tuple[str, str]] = Counter()
    for sample in Corpus("train", 1500, 1, SHARES["reading"]).__getitems__(range(1500)):
        answers.update((q.kind, q.answer) for q in sample["questions"])
    for kind in ("existence", "relation", "comparison"):
        yes, no = answers[kind, "yes"], answers[kind, "no"]
        assert abs(yes - no) < 0.1 * (yes + no)


def test_a_held_out_pair_is_never_read_in_training():
    pairs = {f"{colour} {shape}" for colour, shape in words.HELD_OUT}
    pattern = re.compile("|".join(f"{pair}(s|es)?\\b" for pair in sorted(pairs)))
    assert not any(pattern.search(t) for t in corpus.sentences(2000, 7))
    lessons = Corpus("train", 1000, 7, recall=(100, 300, 100, 300, 100))
    assert not any(pattern.search(s["text"]) for s in lessons.__getitems__(range(1000)))
    held = Corpus("heldout", 50).__getitems__(range(50))
    assert all(any((o.colour, o.shape) in words.HELD_OUT for o in s["scene"].objects) for s in held)


def test_a_retelling_says_nothing_that_the_first_telling_does_not_imply():
    for sample in Corpus("train", 200, 2, SHARES["retelling"]).__getitems__(range(200)):
        (first, _), (again, _) = sample["parts"]
        assert again.startswith(tellings.AGAIN) and again != first
        named = rf"({'|'.join(words.COLOURS)}) ({'|'.join(words.SHAPES)})\b"
        assert set(re.findall(named, again)) <= set(re.findall(named, first))


def test_stated_facts_are_true():
    for sample in Corpus("train", 100, 2, SHARES["facts"]).__getitems__(range(100)):
        objects = sample["scene"].objects
        for sentence, _ in sample["parts"][1:]:
            if found := re.fullmatch(r"there (?:is|are) (\d) objects?\.", sentence):
                assert int(found[1]) == len(objects)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="mixture needs a share in a hundred for each of reading"):
        Corpus(mixture=(50, 20, 10, 10))
    with pytest.raises(ValueError, match="at least 1; got 0"):
        Corpus(asked=0)
    with pytest.raises(ValueError, match=r"each of things, sizes, .*; got \(8, 8, 8, 8\)"):
        Corpus(recall=(8, 8, 8, 8))
    with pytest.raises(ValueError, match="0 or more, for each of things"):
        Corpus(recall=(8, -8, 8, 8, 8))
    with pytest.raises(ValueError, match="focused is a share in a hundred, 0 to 100; got 101"):
        Corpus(focused=101)
    with pytest.raises(ValueError, match="Did you mean 'colour'"):
        Corpus(kinds=("color",))


def test_only_answers_are_targets(tokenizer):
    sample = Corpus("train", 5, 3, SHARES["reading"], brief=0)[0]
    batch = text.TextCollate(tokenizer)([sample])
    learned = batch["targets"][0][batch["targets"][0] != -100].tolist()
    answers = " ".join(f"{q.answer}." for q in sample["questions"])
    assert tokenizer.decode(learned[:-1]) == answers and learned[-1] == tokenizer.eos
    assert tokenizer.decode(batch["tokens"][0].tolist()) == sample["text"]
    assert (
        batch["targets"][0][:-1][learned_at(batch)] == batch["tokens"][0][1:][learned_at(batch)]
    ).all()


def learned_at(batch: dict) -> torch.Tensor:
    return batch["targets"][0][:-1] != -100


def test_rows_are_padded_and_cut(tokenizer):
    samples = Corpus("train", 5, 3).__getitems__(range(5))
    batch = text.TextCollate(tokenizer, context=40)(samples)
    assert batch["tokens"].shape == batch["targets"].shape and batch["tokens"].shape[1] == 40
    plain = text.TextCollate(tokenizer)([{"id": "a", "text": "there is a red circle."}])
    assert plain["tokens"][0, 0] == tokenizer.bos and plain["targets"][0, -1] == tokenizer.eos


def test_the_encoder_reads_one_question_at_a_time(tokenizer):
    sample = Corpus("train", 5, 3, SHARES["reading"])[0]
    told, *asked = (text for text, _ in sample["parts"])
    batch = text.PrefixCollate(tokenizer, rows=3)([sample], torch.Generator().manual_seed(0))
    read = [
        tokenizer.decode(row[seen].tolist())
        for row, seen in zip(batch["inputs"], batch["inputs_mask"], strict=True)
    ]
    assert read == [f"{told} {question}" for question in asked[0:6:2]]
    wrote = [tokenizer.decode(row[1:].tolist()) for row in batch["tokens"]]
    learned = [tokenizer.decode(row[row >= 0].tolist()) for row in batch["targets"]]
    assert learned == wrote == asked[1:6:2]
    assert batch["ids"] == [sample["id"]] * 3 and (batch["tokens"][:, 0] == 0).all()
    last = text.PrefixCollate(tokenizer)([sample])
    answer = sample["questions"][-1].answer
    assert tokenizer.decode(last["targets"][0].tolist()[:-1]) == f"{answer}."


def test_turns_of_a_talk_are_read_with_all_before_them(tokenizer):
    talk = ("hello, ring.", "who are you?", "a star.", "who am i?", "a ring.")
    sample = {"id": "talk", "parts": tuple((t, i in (2, 4)) for i, t in enumerate(talk))}
    prefixes = set()
    for seed in range(20):
        batch = text.PrefixCollate(tokenizer)([sample], torch.Generator().manual_seed(seed))
        read = tokenizer.decode(batch["inputs"][0].tolist())
        assert f"{read} {tokenizer.decode(batch['tokens'][0, 1:].tolist())}" == " ".join(talk)
        prefixes.add(read)
    assert prefixes == {" ".join(talk[:n]) for n in (1, 2, 4)}


def test_answers_are_not_padded_to_the_length_of_stories(tokenizer):
    corpus = Corpus("train", 8 * 16, 3)
    corpus.order = replace(corpus.order, size=text.rows_size)
    batches = Batches(corpus, text.PrefixCollate(tokenizer), 16)
    made = [batches[i] for i in range(8)]
    assert {name for batch in made for name in batch["ids"]} == {s["id"] for s in corpus}
    short = sum(batch["tokens"].shape[1] < 6 for batch in made)
    assert short == sum(s["kind"] == "reading" for s in corpus) // 16 > 3


def test_a_list_is_cut_after_its_first_question_or_before(tokenizer):
    sample = Corpus("train", 5, 3, recall=(5, 0, 0, 0, 0))[0]
    told, question, *_ = (text for text, _ in sample["parts"])
    cuts = Counter()
    for seed in range(40):
        batch = text.PrefixCollate(tokenizer)([sample], torch.Generator().manual_seed(seed))
        read = tokenizer.decode(batch["inputs"][0].tolist())
        assert f"{read} {tokenizer.decode(batch['tokens'][0, 1:].tolist())}" == sample["text"]
        cuts[read] += 1
    assert set(cuts) == {told, f"{told} {question}"} and cuts[told] < 20


def test_a_document_without_questions_is_cut_anywhere(tokenizer):
    parts = tuple((f"there is a {colour} ring.", True) for colour in words.COLOURS[:4])
    sample = {"id": "facts", "parts": parts}
    cuts = Counter()
    for seed in range(60):
        batch = text.PrefixCollate(tokenizer)([sample], torch.Generator().manual_seed(seed))
        cuts[int(batch["inputs_mask"].sum())] += 1
    assert len(cuts) == 3 and max(cuts.values()) == cuts[min(cuts)]
