"""A film to talk about, and its truth; and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chat_tabs import browser

from vlcourse.data.media import Media
from vlcourse.data.world import film as drawn
from vlcourse.data.world.timeline import Timeline

FILM = 7  # the seed of one in which things move, hit, and change size and colour


@pytest.fixture(scope="session")
def timeline() -> Timeline:
    return Timeline.sample(FILM, "test")


@pytest.fixture(scope="session")
def film(timeline: Timeline) -> Media:
    times = drawn.frame_times(timeline.duration, 1.0)
    frames, said = drawn.frames(timeline, times, 96), timeline.subtitles()
    return Media("film", frames, tuple(times), float(timeline.duration), subtitles=said)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched
