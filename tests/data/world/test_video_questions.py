"""Questions about films: answers that follow from the film, and from nothing less than the film."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from vlcourse.data.world import COLOURS, SHAPES
from vlcourse.data.world.script import NAMES, Event, Script
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_questions import (
    VIDEO_KINDS,
    VideoQuestion,
    questions,
    same_side,
    seconds_of,
)

N = 6000
SCRIPTS = [Script.sample(seed, seconds=(8, 10)) for seed in range(N)]
ASKED = [(script, question) for script in SCRIPTS for question in questions(script)]


def of_kind(kind: str) -> list[tuple[Script, VideoQuestion]]:
    return [(script, question) for script, question in ASKED if question.kind == kind]


def guesses_right(
    asked: list[tuple[Script, VideoQuestion]], clue: str, within: float = 0.0
) -> float:
    """How often one guesses right who knows the kind of film and ``clue``: nothing, the question's
    form, all its words, or its words and how long the film lasts. Learned on one half of the films,
    measured on the other."""

    def known(script: Script, question: VideoQuestion) -> tuple[object, ...]:
        text = question.text
        form = " ".join(word for word in text.split() if word.strip("?,") not in COLOURS + SHAPES)
        length = script.duration
        return {"form": (form,), "words": (text,), "film": (form, length)}[clue]

    seen: dict[tuple[object, ...], Counter[str]] = defaultdict(Counter)
    half = len(asked) // 2
    for script, question in asked[:half]:
        seen[known(script, question)][question.answer] += 1
    everything = Counter(question.answer for _, question in asked[:half])
    hits = 0
    for script, question in asked[half:]:
        answers = seen.get(known(script, question)) or everything
        if within:
            near = {a: sum(m for b, m in answers.items() if close(a, b, within)) for a in answers}
            guess = max(near, key=lambda a: near[a])
            hits += close(guess, question.answer, within)
        else:
            hits += answers.most_common(1)[0][0] == question.answer
    return hits / (len(asked) - half)


def close(a: str, b: str, within: float) -> bool:
    return abs((seconds_of(a) or 0) - (seconds_of(b) or 0)) <= within


@pytest.mark.parametrize(
    ("kind", "chance"),
    [
        ("direction", 1 / 4),
        ("localisation", 1 / 8),  # 7 to 9 seconds to choose from
        ("counting", 1 / 3),
        ("speech", 1 / len(NAMES)),
        ("image", 1 / 6),  # of a shape's 6 or 7 colours
        ("cause", 1 / 40),
    ],
)
def test_no_kind_can_be_guessed_from_the_question(kind: str, chance: float) -> None:
    asked = of_kind(kind)
    assert len(asked) > 1000
    for clue in ("form", "words", "film"):
        assert guesses_right(asked, clue) < chance + 0.04, clue


def test_the_order_of_two_things_cannot_be_guessed() -> None:
    asked = of_kind("order")
    first = [q.text.split("the ")[-2].startswith(q.answer) for _, q in asked]
    assert len(asked) > 1000 and abs(sum(first) / len(first) - 0.5) < 0.03
    # Nor do a colour, a shape, or what happened tell: which of the two is named is even.
    for words in (COLOURS, SHAPES):
        for word in words:
            with_it = [q for _, q in asked if word in q.text.split("first")[1]]
            right = [word in q.answer for q in with_it]
            assert abs(sum(right) / len(right) - 0.5) < 0.08, word


def test_a_guess_of_a_time_is_seldom_right_within_a_second() -> None:
    assert guesses_right(of_kind("localisation"), "film", within=1) < 0.42  # 3 of 7 to 3 of 9


def test_answers_follow_from_what_is_shown() -> None:
    for seed in range(150):
        film = Timeline.sample(seed, seconds=(8, 10))
        for question in film.questions():
            events = [film.events[i] for i in question.events]
            if question.kind == "order":
                first = min(events, key=lambda event: event.time)
                assert question.answer == film.script.thing(first.who).noun()
                assert same_side(film.script, *events)
            elif question.kind == "localisation":
                assert question.seconds == events[0].time
            elif question.kind == "cause":
                hit, change = events
                assert film.at(change.time - 0.01) != film.at(change.time)
                assert film.script.thing(hit.who).noun() in question.answer
                assert len(film.script.of_kind("hit")) == 2  # there was another that it could be
            elif question.kind == "counting":
                assert question.answer == str(len(events))
            elif question.kind == "image":
                colours = {
                    o.colour
                    for time in range(film.duration + 1)
                    for o in film.at(time).objects
                    if o.shape == question.text.split()[-1].strip("?")
                }
                assert colours == {question.answer}
            elif question.kind == "speech":
                assert question.answer in film.srt()


def test_the_middle_frame_says_little() -> None:
    """One who sees who is there, who touches whom and where things stand learns to answer."""
    seen: dict[str, dict[object, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    right: dict[str, list[bool]] = defaultdict(list)
    for number, script in enumerate(SCRIPTS[:2400]):
        film = Timeline.of(script)
        middle = film.duration / 2
        there = film.present(middle)

        def touches(event: Event, film: Timeline = film, time: float = middle) -> bool:
            a, b = (film.actor_at(i, time) for i in (event.who, event.whom or 0))
            return bool(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5 < a.radius + b.radius)

        for question in film.questions(("order", "cause", "direction")):
            events = [film.events[i] for i in question.events]
            if question.kind == "cause":
                events = sorted(script.of_kind("hit"), key=lambda event: event.who)
            elif question.text.split("first, the ")[-1].startswith(question.answer):
                events = events[::-1]
            shown: list[object] = [(e.who in there, e.kind == "hit" and touches(e)) for e in events]
            names = [script.thing(event.who).noun() for event in events]
            answer = question.answer
            if question.kind == "direction":
                obj = film.actor_at(events[0].who, middle)
                shown = [int(4 * obj.x), int(4 * obj.y)]
            else:
                answer = str([name in answer for name in names])
            known = seen[question.kind][tuple(shown)]
            if number >= 1600 and known:
                right[question.kind].append(known.most_common(1)[0][0] == answer)
            known[answer] += 1
    share = {kind: sum(values) / len(values) for kind, values in right.items()}
    assert share["order"] < 0.62 and share["cause"] < 0.62 and share["direction"] < 0.4, share


def test_what_is_said_is_shown_nowhere() -> None:
    for _, question in of_kind("speech")[:100]:
        assert question.answer in NAMES


def test_each_name_means_one_actor_at_all_times() -> None:
    for seed in range(100):
        film = Timeline.sample(seed)
        for who in range(len(film.script.actors)):
            thing = film.script.thing(who)
            for time in range(film.duration + 1):
                there = film.present(time)
                fitting = [
                    i
                    for i, obj in zip(there, film.at(time).objects, strict=True)
                    if thing.fits(obj)
                ]
                assert fitting == [who] * (who in there)


def test_an_easy_question_may_be_told_by_one_frame() -> None:
    easy = [q for s in SCRIPTS[:300] for q in questions(s, ("order",), easy=True)]
    fair = [q for s in SCRIPTS[:300] for q in questions(s, ("order",))]
    assert len(easy) > 3 * len(fair) > 0


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown kind of question about a film 'smell'"):
        questions(SCRIPTS[0], ("smell",))
    assert {q.kind for _, q in ASKED} == set(VIDEO_KINDS)


@pytest.mark.parametrize(
    ("answer", "seconds"), [("3 s", 3.0), ("at 10 s.", 10.0), ("never", None), ("", None)]
)
def test_seconds_are_read_from_an_answer(answer: str, seconds: float | None) -> None:
    assert seconds_of(answer) == seconds
