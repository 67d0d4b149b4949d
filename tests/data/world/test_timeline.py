"""Films of the toy world: what happens is what is shown, and every split has its own."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest

from vlcourse.data.world import HELD_OUT
from vlcourse.data.world.facts import Thing
from vlcourse.data.world.script import FILM_SPLITS, Event, Script
from vlcourse.data.world.timeline import Timeline

FILMS = [Timeline.sample(seed, seconds=(2, 10)) for seed in range(300)]
SHORT = Thing("red", "ring", "small"), Thing("blue", "square", "small")


@pytest.mark.parametrize("split", FILM_SPLITS)
def test_a_film_is_a_function_of_its_seed(split: str) -> None:
    assert Timeline.sample(5, split) == Timeline.sample(5, split) != Timeline.sample(6, split)


def test_events_show_in_the_scene_at_their_time() -> None:
    seen = Counter[str]()
    for film in FILMS:
        for event in film.events:
            begin, end = event.span
            # Just before and at the end of the event, in the same film without other changes.
            before = film.actor_at(event.who, max(0, begin - 0.01))
            after = film.actor_at(event.who, end)
            if event.kind == "come":
                assert event.who not in film.present(event.time - 0.01)
                assert event.who in film.present(event.time)
            elif event.kind == "leave":
                assert event.who in film.present(event.time - 0.01)
                assert event.who not in film.present(event.time)
            elif event.kind == "colour":
                assert before.colour != after.colour == event.value
            elif event.kind == "size":
                assert before.size != after.size == event.value
            elif event.kind == "move":
                dx, dy = after.x - before.x, after.y - before.y
                way = {(1, 0): "right", (-1, 0): "left", (0, 1): "down", (0, -1): "up"}
                assert way[(dx > 0.15) - (dx < -0.15), (dy > 0.15) - (dy < -0.15)] == event.value
            seen[event.kind] += 1
    assert min(seen[kind] for kind in ("come", "leave", "move", "colour", "size", "hit")) > 50


def gap(film: Timeline, i: int, j: int, time: float) -> float:
    """Between the edges of two actors, as a part of the picture."""
    a, b = film.actor_at(i, time), film.actor_at(j, time)
    return float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5 - a.radius - b.radius)


def test_only_what_hits_touches_and_nothing_overlaps() -> None:
    for film in FILMS[:100]:
        for i, j in combinations(range(len(film.script.actors)), 2):
            touched = [e.time for e in film.script.of_kind("hit") if {e.who, e.whom} == {i, j}]
            for step in range(4 * film.duration + 1):
                between = gap(film, i, j, step / 4)
                if not touched or step / 4 < touched[0]:
                    assert between > 0 if touched else between > 0.035
            for time in touched:
                before = [e for e in film.events if e.time < time or e.kind == "hit"]
                same = Script(film.duration, film.script.actors, tuple(before))
                assert -0.03 < gap(Timeline(same, film.stage), i, j, time) < 0


def test_between_two_events_nothing_changes() -> None:
    for film in FILMS[:100]:
        busy = [event.span for event in film.events]
        for step in range(film.duration):
            a, b = step + 0.3, step + 0.7
            if not any(begin < b and end > a for begin, end in busy):
                assert film.at(a) == film.at(b)


def test_a_change_with_a_cause_comes_with_a_hit() -> None:
    caused = [(f, e) for f in FILMS for e in f.events if e.cause is not None]
    assert len(caused) > 50
    for film, event in caused:
        hit = film.events[event.cause or 0]
        assert (hit.kind, hit.time, hit.whom) == ("hit", event.time, event.who)


def test_held_out_pairs_are_shown_in_their_split_only() -> None:
    def pairs(film: Timeline) -> set[tuple[str, str]]:
        scenes = [film.at(t) for t in range(film.duration + 1)]
        return {(o.colour, o.shape) for scene in scenes for o in scene.objects}

    assert not any(pairs(film) & set(HELD_OUT) for film in FILMS)
    for seed in range(100):
        film = Timeline.sample(seed, "heldout")
        acting = {film.script.thing(event.who) for event in film.events}
        assert any((thing.colour, thing.shape) in HELD_OUT for thing in acting)


def what_happens(script: Script) -> tuple[tuple[str, int, Thing, str], ...]:
    return tuple((e.kind, e.time, script.actors[e.who], e.value) for e in script.events)


def test_splits_have_no_film_in_common() -> None:
    told = {
        split: {
            (script.duration, frozenset(script.actors), what_happens(script))
            for script in (Script.sample(i, split, (2, 3)) for i in range(400))
        }
        for split in ("train", "val", "test")
    }
    assert len(told["train"]) > 300
    for a, b in combinations(told.values(), 2):
        assert not a & b


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Timeline.sample(0, "shifted"), "Unknown split 'shifted'"),
        (lambda: Timeline.sample(0, seconds=(1, 5)), "seconds must satisfy 2 <= least"),
        (lambda: Timeline.sample(-1), "A seed must lie between"),
        (lambda: FILMS[0].at(11), "there is no scene at 11 s"),
        (lambda: Script(5, (SHORT[0], SHORT[0]), ()), "all of different shape"),
        (lambda: Script(1, SHORT, ()), "lasts 2 to 10 seconds; got 1 s"),
        (lambda: Script(5, SHORT, (Event("come", 5, 0),)), "Out of the film"),
        (lambda: Script(5, SHORT, (Event("come", 4, 2),)), "by nobody in it"),
        (lambda: Script(5, SHORT, (Event("dance", 4, 1),)), "Unknown event 'dance'"),
        (
            lambda: Script(5, SHORT, (Event("come", 4, 0), Event("leave", 2, 1))),
            "in the order of their times",
        ),
        (lambda: Script(5, SHORT, (Event("colour", 4, 0, "red", cause=0),)), "an earlier event"),
    ],
)
def test_what_cannot_be_is_refused(make, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
