"""The toy corpus: true, complete, balanced, and split by composition."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import torch

from vlcourse.batches import Batches
from vlcourse.data import corpus, describe, facts, questions, recall, scene, splits, text
from vlcourse.data.corpus import DOCUMENT_KINDS, Corpus
from vlcourse.llama_tokenizer import FastSentenceBPE
from vlcourse.sentence_pieces import train_sentence_bpe

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
        named = set(re.findall(rf"({'|'.join(splits.COLOURS)}) ({'|'.join(splits.SHAPES)})", text))
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


def test_a_curriculum_begins_with_recall_and_keeps_its_order():
    data = Corpus("train", 64, 3, recall=(15, 9, 4, 16))
    samples = data.__getitems__(range(64))
    kinds = [s["kind"] for s in samples]
    assert kinds[:28] == ["recall"] * 28 and "recall" not in kinds[44:]
    assert Counter(kinds[28:44]) == {"recall": 6, "reading": 10}
    order = Batches(data, lambda samples, generator: samples, 8, seed=1)
    assert [s["id"] for s in order[1]] == [data[i]["id"] for i in range(8, 16)]
    texts = [s["text"] for s in samples]
    assert not any(" is " in text for text in texts[:15])
    assert all(" is " in text and "yes" not in text for text in texts[15:24])
    assert any("yes" in text for text in texts[24:28])
    asked = [q for s in samples[28:44] if s["kind"] == "reading" for q in s["questions"]]
    assert {q.kind for q in asked} == {"relation"}


def test_focused_documents_ask_of_one_kind():
    for share in (0, 100):
        data = Corpus("train", 60, 3, SHARES["reading"], focused=share, asked=12)
        samples = data.__getitems__(range(60))
        single = sum(len({q.kind for q in s["questions"]}) <= 1 for s in samples)  # or none
        assert single == (60 if share else 0)


def test_recall_of_things_is_answered_by_its_list():
    for i in range(50):
        text = " ".join(part for part, _ in recall.things(scene.Scene.sample(i, "train", 3)))
        things = dict(re.findall(r"an? (\w+) (\w+)[,.]", text))
        asked = re.findall(r"(\w+)\? (\w+)\.", text)
        assert len(asked) == recall.RECALLS
        for key, value in asked:
            assert things.get(key) == value or things.get(value) == key


SAME = {"higher than": "above", "lower than": "below"}
RELATED = r"(above|below|higher than|lower than|(?:to the |on the )?(?:left|right) of)"


def test_recall_of_relations_is_answered_by_its_sentences():
    answers: Counter[str] = Counter()
    for i in range(200):
        parts = recall.pairs(scene.Scene.sample(i, "train", 3), mixed=True)
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
    pairs = {f"{colour} {shape}" for colour, shape in splits.HELD_OUT}
    pattern = re.compile("|".join(f"{pair}(s|es)?\\b" for pair in sorted(pairs)))
    assert not any(pattern.search(t) for t in corpus.sentences(2000, 7))
    held = Corpus("heldout", 50).__getitems__(range(50))
    assert all(
        any((o.colour, o.shape) in splits.HELD_OUT for o in s["scene"].objects) for s in held
    )


def test_a_retelling_says_nothing_that_the_first_telling_does_not_imply():
    for sample in Corpus("train", 200, 2, SHARES["retelling"]).__getitems__(range(200)):
        (first, _), (again, _) = sample["parts"]
        assert again.startswith(corpus.AGAIN) and again != first
        named = rf"({'|'.join(splits.COLOURS)}) ({'|'.join(splits.SHAPES)})\b"
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


def test_a_prefix_and_its_continuation_make_the_document(tokenizer):
    sample = Corpus("train", 5, 3, SHARES["reading"])[0]
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        batch = text.PrefixCollate(tokenizer)([sample], generator)
        read = tokenizer.decode(batch["inputs"][0].tolist())
        wrote = tokenizer.decode(batch["tokens"][0, 1:].tolist())
        assert f"{read} {wrote}" == sample["text"]
        learned = batch["targets"][0]
        assert learned[-1] == tokenizer.eos and batch["tokens"][0, 0] == 0
    last = text.PrefixCollate(tokenizer)([sample])
    answer = sample["questions"][-1].answer
    assert tokenizer.decode(last["targets"][0].tolist()[:-1]) == f"{answer}."
    assert set(q.kind for q in sample["questions"]) <= set(questions.QUESTION_KINDS)
