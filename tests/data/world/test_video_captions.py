"""What a film's words give away: not who will do what, before it is told."""

from __future__ import annotations

import re

import pytest

from vlcourse.data.world.script import Script
from vlcourse.data.world.video_captions import captions, cast, opening

FILMS = [Script.sample(seed, seconds=(6, 10)) for seed in range(1500)]
CAUSED = [film for film in FILMS if film.of_kind("hit")]


def test_the_opening_names_all_that_is_there_at_first_and_nothing_else() -> None:
    for film in FILMS[:200]:
        there = {str(a) for who, a in enumerate(film.actors) if film.present(who, 0)}
        named = re.split(r", | and ", opening(film).removeprefix("there is ").removesuffix("."))
        assert set(named) == there and len(named) == len(there)


@pytest.mark.parametrize("place", range(4))
def test_any_actor_may_stand_anywhere(place: int) -> None:
    films = [film for film in CAUSED if len(film.actors) == 4]
    assert len(films) > 500
    for who in range(4):  # 0 is hit, 1 and 2 hit it
        share = sum(cast(film)[place] == who for film in films) / len(films)
        assert abs(share - 0.25) < 0.06  # three standard errors


def test_the_first_named_of_those_that_hit_is_the_cause_half_of_the_time() -> None:
    first = []
    for film in CAUSED:
        (change,) = (event for event in film.events if event.cause is not None)
        assert change.cause is not None
        hitting = [who for who in cast(film) if who in (1, 2)]
        first.append(film.events[change.cause].who == hitting[0])
    assert abs(sum(first) / len(first) - 0.5) < 0.06


def test_a_title_lists_the_cast_as_the_opening_does() -> None:
    film = CAUSED[0]
    (title,) = (text for text in captions(film) if text.startswith("a film of "))
    named = re.split(r", | and ", title.removeprefix("a film of "))
    assert named == [str(film.actors[who]) for who in cast(film)]
