"""Sampled frames and their times: what fits together, and which frame was on the screen when."""

from __future__ import annotations

import pytest
import torch

from vlcourse.data.media import Media, MediaError, sampled
from vlcourse.data.segments import clock


def media(*times: float, duration: float = 0.0) -> Media:
    frames = torch.arange(len(times), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 6)
    return Media("film", frames, times, duration)


def test_a_frame_stands_until_the_next_one_and_the_last_until_the_end() -> None:
    assert media(0.0, 1.5, 2.0, duration=4.0).ends == (1.5, 2.0, 4.0)
    assert media(0.0).ends == (0.0,) and media(0.0).still


def test_uniform_takes_what_is_shown_at_the_middles_of_equal_spans() -> None:
    film = media(0.0, 1.0, 2.0, 3.0, duration=4.0)
    assert film.uniform(2).times == (1.0, 3.0)  # shown at seconds 1 and 3
    assert film.uniform(1).frames.flatten()[0] == 2


def test_a_film_shorter_than_asked_gives_each_frame_once() -> None:
    film = media(0.0, 1.0, duration=2.0)
    assert film.uniform(8).times == (0.0, 1.0)
    assert media(0.0).uniform(4).times == (0.0,)


def test_the_sentence_says_how_many_frames_there_are_and_when() -> None:
    assert sampled((0.1, 1.34)) == "The video contains 2 frames sampled at 0.1, 1.3 seconds."
    assert sampled((0.0,)) == "The video contains 1 frame sampled at 0.0 seconds."


@pytest.mark.parametrize(
    ("frames", "times", "said"),
    [
        (torch.zeros(1, 3, 4, 4), (0.0,), "must be uint8"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), (0.0,), "not uint8 (3, 4, 4)"),
        (torch.zeros(0, 3, 4, 4, dtype=torch.uint8), (), "(0, 3, 4, 4)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), (0.0,), "2 frames and 1 times"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), (1.0, 1.0), "must increase"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), (0.0, float("nan")), "must increase"),
    ],
)
def test_what_does_not_fit_is_refused(
    frames: torch.Tensor, times: tuple[float, ...], said: str
) -> None:
    with pytest.raises(MediaError) as refused:
        Media("film", frames, times, 3.0)
    assert said in str(refused.value) and "film" in str(refused.value)


def test_a_clock_rounds_down() -> None:
    assert [clock(s) for s in (0, 2.99, 62.9, 3600)] == ["00:00", "00:02", "01:02", "60:00"]
