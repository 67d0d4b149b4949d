"""VideoChat's figures show what they are given."""

from __future__ import annotations

import pytest
import torch

from vlcourse.data.world.film import frames, uniform_times
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_captions import clause
from vlcourse.teach.videochat import figures, plots
from vlcourse.teach.videochat.exercises.clock import time_waves


@pytest.fixture(scope="module")
def film() -> Timeline:
    return Timeline.sample(7, "test")


def test_both_systems_end_with_an_answer_and_the_tower_is_frozen() -> None:
    for axis in figures.systems().axes:
        said = [text.get_text() for text in axis.texts]
        assert {"video", "LLM", "the question", "the answer"} <= set(said)
    assert [p.get_hatch() for p in axis.patches].count("//") == 3  # tower, Q-Former, LLM


def test_the_local_aggregator_links_three_frames_and_the_global_one_all_places(
    film: Timeline,
) -> None:
    upper, lower = figures.relations(list(frames(film, [1, 2, 3, 4])), grid=2).axes
    assert len(upper.patches) == 3
    assert sum(line.get_marker() == "o" for line in lower.lines) == 4 * 4


def test_one_token_is_handed_on_and_starts_as_zeros() -> None:
    left, right = figures.aggregator().axes
    said = [text.get_text() for text in left.texts]
    assert said.count("look at all") == 3 and "zeros" in said
    assert sum("0 at first" in text.get_text() for text in right.texts) == 2


def test_a_story_has_each_frame_and_each_event_at_its_time(film: Timeline) -> None:
    times = uniform_times(film.duration, 5)
    (axis,) = plots.story(film, times).axes
    assert len(axis.images) == 5
    middles = [sum(image.get_extent()[:2]) / 2 for image in axis.images]
    assert middles == pytest.approx(times)
    said = [text.get_text() for text in axis.texts]
    assert said == [clause(film.script, event) for event in film.events]
    starts = [line.get_xdata()[0] for line in axis.lines[5:]]
    assert starts == [event.span[0] for event in film.events]


def test_a_moment_is_closest_to_itself() -> None:
    (axis,) = plots.closeness(time_waves, [2.0, 7.0], 10).axes
    for line, moment in zip(axis.lines, (2.0, 7.0), strict=True):
        assert line.get_xdata()[int(line.get_ydata().argmax())] == pytest.approx(moment)


def test_a_kind_that_a_system_was_not_asked_is_left_out() -> None:
    told = {"a": {"order": torch.ones(4), "cause": torch.zeros(4)}, "b": {"order": torch.ones(4)}}
    (axis,) = plots.by_kind(told).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["order", "cause"]
    assert len(axis.containers) == 3
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["a", "b"]


def test_attention_stands_below_its_frames(film: Timeline) -> None:
    times = uniform_times(film.duration, 4)
    looks = torch.rand(6, 5).softmax(dim=1)
    above, map_, _ = plots.attention(film, times, looks, own=2).axes
    assert len(above.images) == 4 and above.get_xlim() == map_.get_xlim()
    torch.testing.assert_close(torch.tensor(map_.images[0].get_array()), 100 * looks[:, :4])
