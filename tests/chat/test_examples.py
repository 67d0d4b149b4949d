"""What can be talked about without a file: pictures and films that are drawn, with questions."""

from __future__ import annotations

import io
from collections import Counter

import av
import pytest

from vlcourse.chat.examples import EXAMPLES, FPS
from vlcourse.data.world import Scene


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_film_lasts_as_long_as_its_frames_say(name: str) -> None:
    media, questions, film = EXAMPLES[name].shown()
    assert len(set(questions)) >= 5
    if media.still:
        assert not film and name.startswith("picture")
        return
    assert len(media.times) == media.duration * FPS and name.startswith("film")
    with av.open(io.BytesIO(film)) as file:
        assert file.duration / av.time_base == pytest.approx(media.duration, abs=0.1)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("picture")])
def test_a_picture_shows_what_its_name_says(name: str) -> None:
    objects = Scene.sample(EXAMPLES[name].seed, split="test", n_objects=3).objects
    said = {("a " if n == 1 else "two ") + shape + "s" * (n > 1)
            for shape, n in Counter(each.shape for each in objects).items()}  # fmt: skip
    assert set(name.removeprefix("picture: ").split(" and ")) == said
