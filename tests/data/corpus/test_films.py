"""Texts about films: a curriculum of lists, brief questions and whole ones, on the right splits."""

from __future__ import annotations

import re

import pytest

from vlcourse.data.corpus.film_lists import causes, names, timed_things
from vlcourse.data.corpus.films import Films, ask, film
from vlcourse.data.world import HELD_OUT
from vlcourse.data.world.script import NAMES, Script
from vlcourse.data.world.video_captions import seen, told
from vlcourse.data.world.video_questions import VIDEO_KINDS, in_tags, questions
from vlcourse.tokenizers import llama

TEXTS = Films(n=1200, lessons=(100, 200), still=25, tags=25)
SAMPLES = TEXTS.__getitems__(range(1200))


def test_a_document_does_not_depend_on_its_batch() -> None:
    for i in (0, 150, 700, 701, 1199):
        assert TEXTS[i]["text"] == SAMPLES[i]["text"]
    assert TEXTS[3]["text"] != Films(n=1200, seed=1, lessons=(100, 200))[3]["text"]


def test_lists_come_first_and_then_brief_questions() -> None:
    kinds = [sample["kind"] for sample in SAMPLES]
    assert kinds[:100].count("film") == 0
    first, brief, rest = SAMPLES[:100], SAMPLES[100:300], SAMPLES[300:]
    lists = [s["text"] for s in first if s["kind"] == "list"]
    assert all(sum(word in text for text in lists) > 5 for word in ("why", "when", "called"))
    films = [s for s in brief if s["kind"] == "film"]
    assert len(films) > 100 and not any("question:" in s["text"] for s in films)
    films = [s for s in rest if s["kind"] == "film"]
    assert 0.55 < sum("question:" in s["text"] for s in films) / len(films) < 0.85
    assert 0.05 < [s["kind"] for s in rest].count("list") / len(rest) < 0.15


def test_a_share_is_about_pictures() -> None:
    pictures = [s for s in SAMPLES if s["id"].startswith("corpus/")]
    assert 0.2 < len(pictures) / len(SAMPLES) < 0.3
    assert {"reading", "recall"} <= {s["kind"] for s in pictures}


def test_a_share_of_films_is_told_as_tags_which_answer_what_is_asked() -> None:
    films = [s for s in SAMPLES[300:] if s["kind"] == "film"]
    tagged = [s for s in films if s["text"].startswith("at 0 s: ")]
    assert 0.15 < len(tagged) / len(films) < 0.35
    for sample in films:
        how = seen if sample in tagged else told
        assert sample["text"].startswith(how(sample["script"]))
        if sample in tagged:
            assert all(in_tags(sample["script"], question) for question in sample["questions"])


def test_only_answers_are_learned() -> None:
    for sample in SAMPLES:
        if sample["kind"] == "film":
            texts = [(f"{q.answer}.", True) for q in sample["questions"]]
            assert list(sample["parts"][2::2]) == texts
            assert not any(learn for _, learn in (sample["parts"][0], *sample["parts"][1::2]))


@pytest.mark.parametrize("seed", range(20))
def test_a_list_of_times_answers_its_questions(seed: int) -> None:
    parts = timed_things(seed, "train")
    things = dict(re.findall(r"at (\d) s an? (\w+ \w+)", parts[0][0]))
    times = {thing: int(time) for time, thing in things.items()}
    assert 2 <= len(things) == len(times) <= 5
    for (question, _), (answer, _) in zip(parts[1::2], parts[2::2], strict=True):
        if found := re.fullmatch(r"when (\w+ \w+)\?", question):
            assert answer == f"{times[found[1]]} s."
        elif found := re.fullmatch(r"at (\d) s\?", question):
            assert answer == f"{things[found[1]]}."
        else:
            two = re.findall(r"(\w+ \w+)(?: or|\?)", question)
            assert answer == f"{min(two, key=lambda thing: times[thing])}."


@pytest.mark.parametrize("seed", range(20))
def test_a_list_of_causes_answers_its_questions(seed: int) -> None:
    parts = causes(seed, "train")
    hits = re.findall(r"at (\d) s the (\w+ \w+) hit the (\w+)\.", parts[0][0])
    turned = {shape: t for t, shape in re.findall(r"at (\d) s the (\w+) turned", parts[0][0])}
    assert len(hits) == 2 * len(turned)
    for (question, _), (answer, _) in zip(parts[1::2], parts[2::2], strict=True):
        if found := re.fullmatch(r"why (\w+)\?", question):
            by = [who for time, who, whom in hits if (whom, time) == (found[1], turned[whom])]
            assert answer == f"the {by[0]} hit it."
        elif found := re.fullmatch(r"when (\w+ \w+) hit the (\w+)\?", question):
            assert (answer.removesuffix(" s."), found[1], found[2]) in hits
        else:
            two = re.findall(r"(\w+ \w+)(?: or|\?)", question)
            assert answer == f"{next(who for _, who, _ in hits if who in two)}."


@pytest.mark.parametrize("seed", range(20))
def test_a_list_of_names_answers_its_questions(seed: int) -> None:
    parts = names(seed, "train")
    called = dict(re.findall(r"the ([\w ]+) is called (\w+)\.", parts[0][0]))
    who = {name: thing for thing, name in called.items()}
    assert 2 <= len(called) == len(who) <= 5
    for (question, _), (answer, _) in zip(parts[1::2], parts[2::2], strict=True):
        asked = question.rstrip("?")
        known = who[asked] if asked in who else called[asked.removesuffix(" called")]
        assert answer == f"{known}."


def test_every_name_is_called_and_begins_with_a_token_of_its_own() -> None:
    text = " ".join(names(seed, "train")[0][0] for seed in range(200))
    assert set(re.findall(r"called (\w+)", text)) == set(NAMES)
    words = llama()
    before = len(words.encode("is called"))
    first = {words.encode(f"is called {name}.")[before] for name in NAMES}
    assert len(first) == len(NAMES) == 25


def test_held_out_pairs_are_never_read_in_training() -> None:
    text = " ".join(sample["text"] for sample in SAMPLES)
    assert not [pair for pair in HELD_OUT if " ".join(pair) in text]
    held = Films("heldout", n=50).__getitems__(range(50))
    assert all(any(" ".join(pair) in s["text"] for pair in HELD_OUT) for s in held)


def test_questions_of_all_kinds_are_asked_in_two_ways() -> None:
    asked = {q.kind: q for s in SAMPLES if s["kind"] == "film" for q in s["questions"]}
    assert set(asked) == set(VIDEO_KINDS)
    script = Script.sample(0, seconds=(9, 10))
    for question in questions(script):
        assert ask(question) == f"question: {question.text} answer:"
        assert len(ask(question, brief=True)) < len(ask(question)) - 10
    assert film(script, [], as_tags=True)[0][0].startswith("at 0 s: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lessons": (1,)}, "lessons needs a number of documents"),
        ({"asked": 0}, "asked, the questions of a document"),
        ({"still": 101}, "still is a share in a hundred"),
        ({"tags": -1}, "tags is a share in a hundred"),
        ({"brief": -1}, "brief is a share in a hundred"),
        ({"seconds": (0, 5)}, "seconds must satisfy"),
        ({"split": "shifted"}, "Unknown split 'shifted'|split"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Films(n=4, **change)[0]  # type: ignore[arg-type]
