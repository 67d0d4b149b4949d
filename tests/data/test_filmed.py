"""Films with chats: true to the film, no answer without its question, pictures among them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vlcourse.data.filmed import SEEN_KINDS, Filmed, WithPictures, choose
from vlcourse.data.told import WorldTexts
from vlcourse.data.world import World
from vlcourse.data.world.film import frames, uniform_times
from vlcourse.data.world.script import Script
from vlcourse.data.world.video_captions import clause
from vlcourse.data.world.video_questions import questions
from vlcourse.data.world.videos import Videos
from vlcourse.layers.ranges import RangeError

VIDEOS = Videos("train", 12, n_frames=5)


def test_a_sample_is_a_film_at_the_middles_of_equal_parts() -> None:
    sample = Filmed(VIDEOS)[3]
    film = sample["timeline"]
    assert sample["seconds"] == tuple(uniform_times(film.duration, 5))
    assert sample["frames"].equal(frames(film, sample["seconds"]))
    assert sample["kind"] == "asked" and sample["id"] == "videos/train/3"


def test_each_answer_stands_after_its_question_and_is_true() -> None:
    data = Filmed(VIDEOS, asked=6, brief=0)
    for i in range(12):
        sample = data[i]
        parts, film = sample["parts"], sample["timeline"]
        true = {
            (f"question: {q.text} answer:", f"{q.answer}.")
            for q in questions(film.script, SEEN_KINDS, easy=True)
        }
        assert 1 <= len(parts) // 2 <= 6 and len(parts) % 2 == 0
        for (asked, given), (answer, learned) in zip(parts[::2], parts[1::2], strict=True):
            assert not given and learned and (asked, answer) in true
        assert len({asked for asked, _ in parts[::2]}) == len(parts) // 2  # none twice


def test_another_round_asks_other_questions_about_the_same_film() -> None:
    data = Filmed(VIDEOS, 24, asked=3, brief=50)
    changed = 0
    for i in range(12):
        one, again = data[i], data[i + 12]
        assert one["frames"].equal(again["frames"]) and one["id"] == again["id"]
        changed += one["parts"] != again["parts"]
    assert changed >= 8
    assert data[5]["parts"] == data[5]["parts"]
    assert len(data) == 24 and data.pictures is VIDEOS


def test_kinds_of_questions_are_as_likely_as_each_other() -> None:
    data = Videos("train", 150)
    count = dict.fromkeys(SEEN_KINDS, 0)
    for i in range(150):
        script = data.timeline(i).script
        for question in choose(script, SEEN_KINDS, 1, turn=i):
            count[question.kind] += 1
    assert min(count.values()) > 0.04 * 150 and max(count.values()) < 0.5 * 150


def test_of_fewer_questions_more_are_of_causes() -> None:
    scripts = [Script.sample(seed) for seed in range(200)]

    def share(asked: int) -> float:
        kinds = [q.kind for script in scripts for q in choose(script, SEEN_KINDS, asked)]
        return kinds.count("cause") / len(kinds)

    assert share(6) > 1.2 * share(10)


def test_some_films_are_told_again_and_all_of_the_telling_is_learned() -> None:
    data, timed = Filmed(VIDEOS, described=100), 0
    for i in range(12):
        again = data[i]
        (start, given), (text, learned) = again["parts"]
        assert again["kind"] == "again" and start == "in other words:" and not given and learned
        assert "voice" not in text  # nothing is heard
        clauses = [clause(again["timeline"].script, event) for event in again["timeline"].events]
        assert all(words.split(" ", 2)[2] in text for words in clauses)
        timed += all(f"at {event.time} s" in text for event in again["timeline"].events)
    assert 2 < timed < 10


def test_pictures_among_the_films() -> None:
    films = Filmed(VIDEOS, 60)
    world = World("train", 12, objects=(1, 2))
    both = WithPictures(films, WorldTexts(world, 60), 40)
    found: list[dict[str, Any]] = [both[i] for i in range(60)]
    still = [sample for sample in found if "image" in sample]
    assert 10 < len(still) < 40 and all("seconds" not in sample for sample in still)
    assert all(("frames" in sample) != ("image" in sample) for sample in found)
    assert len(both.pictures) == 24  # type: ignore[arg-type]
    assert WithPictures(films, WorldTexts(world, 60), 0)[0]["frames"].dtype == torch.uint8
    with pytest.raises(RangeError, match="share is a number in a hundred"):
        WithPictures(films, WorldTexts(world, 60), 101)
    with pytest.raises(ValueError, match="Did you mean 'order'"):
        Filmed(VIDEOS, kinds=("ordre",))
