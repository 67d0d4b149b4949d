"""What can be talked about without a file: pictures and films that are drawn, with questions."""

from __future__ import annotations

import io

import av
import pytest

from vlcourse.chat.examples import EXAMPLES, FPS


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
