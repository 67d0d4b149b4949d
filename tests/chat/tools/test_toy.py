"""The toy tools on films of which everything is known."""

from __future__ import annotations

import pytest
import torch

from vlcourse.chat.perception import Kind, Perceived, perceive
from vlcourse.chat.textualise import in_toy_words
from vlcourse.chat.tools.changes import followed
from vlcourse.chat.tools.things import Namer, parts
from vlcourse.chat.tools.toy import toy_tools
from vlcourse.data.media import Media
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_captions import timed


@pytest.fixture(scope="module")
def seen(film: Media) -> Perceived:
    return perceive(film, toy_tools())


def test_all_kinds_are_said(seen: Perceived) -> None:
    kinds: list[Kind] = ["action", "caption", "tags", "dense", "change", "subtitle"]
    assert [kind for kind, _ in seen.said] == kinds


def test_tags_are_the_things_of_each_second(seen: Perceived, timeline: Timeline) -> None:
    right = 0
    for segment in seen.of("tags"):
        there = {f"{o.colour} {o.shape}" for o in timeline.at(segment.start).objects}
        right += {*segment.text.split(", ")} == there
    assert right >= len(seen.of("tags")) - 1 and right >= timeline.duration - 2


def test_things_have_their_names_and_places_every_five_seconds(
    seen: Perceived, timeline: Timeline
) -> None:
    assert {segment.start for segment in seen.of("dense")} == {0.0, 5.0}
    truth = dict(timeline.boxes(0.0))
    for segment in seen.of("dense"):
        if segment.start == 0:
            assert segment.box is not None
            left, top, right, bottom = (part * 96 for part in truth[segment.text])
            x, y = (segment.box[0] + segment.box[2]) / 2, (segment.box[1] + segment.box[3]) / 2
            assert left < x < right and top < y < bottom


def test_what_happens_is_said_in_the_words_of_films(seen: Perceived, timeline: Timeline) -> None:
    told = [line for line in in_toy_words(seen) if "voice" not in line and "there is" not in line]
    true = [timed(timeline.script, event) for event in timeline.events]
    assert len({*told} & {*true}) >= len(true) - 1 and len({*told} - {*true}) <= 1, (told, true)


def test_captions_are_of_the_toy_world(seen: Perceived) -> None:
    texts = [segment.text for segment in seen.of("caption")]
    assert len(texts) == 9 and all(" " in text and not text.endswith(".") for text in texts)


def test_an_empty_picture_has_no_things() -> None:
    ground = torch.full((3, 64, 64), 30, dtype=torch.uint8)
    assert parts(ground, 32) == []
    tools = toy_tools()
    seen = perceive(Media("ground", ground[None], (0.0,)), tools)
    assert not seen.of("dense") and not seen.of("change") and not seen.of("action")


def test_a_thing_is_followed_through_its_change_of_colour(film: Media, timeline: Timeline) -> None:
    tools = toy_tools()
    watcher = next(tool.watcher for tool in tools if tool.kind == "tags")  # type: ignore[attr-defined]
    assert isinstance(watcher.namer, Namer)
    tracks = followed(watcher.seen(film))
    assert len(tracks) == len(timeline.script.actors)
    cross = next(track for track in tracks if track.shape == "cross")
    assert cross.called().colour is None and cross.looks[0].colour == "pink"


def test_a_photo_full_of_spots_has_few_things_and_a_wide_one_all_of_its_width() -> None:
    torch.manual_seed(0)
    small = torch.randint(256, (3, 16, 16), dtype=torch.uint8)
    assert len(parts(small.repeat_interleave(8, 1).repeat_interleave(8, 2), 32)) <= 12
    wide = torch.full((3, 60, 180), 30, dtype=torch.uint8)
    wide[:, 20:40, 150:170] = 250
    ((box, alone),) = parts(wide, 32)
    assert box == (150, 20, 170, 40) and alone.shape == (3, 32, 32)
    assert alone[:, 14:18, 27:30].float().mean() > 200  # it is not cut off
