"""Tools of transformers and pocketsphinx: what they are asked, and what their answers become."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from video_files import write_video

from vlcourse.chat import ChatError
from vlcourse.chat.tools import pipelines, speech
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment
from vlcourse.data.sources.audio import RATE
from vlcourse.data.sources.video import read_video


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Two seconds with a tone."""
    path = write_video(tmp_path_factory.mktemp("video") / "a.mp4", 20, sound=2.0)
    return read_video(path)


def test_words_become_segments_at_pauses() -> None:
    words = [(0.0, 0.4, "good"), (0.5, 0.9, "day"), (2.0, 2.3, "bye")]
    assert speech.joined(words) == [Segment(0.0, 0.9, "good day"), Segment(2.0, 2.3, "bye")]
    assert speech.joined([]) == []
    talk = [(t, t + 0.9, "word") for t in np.arange(0.0, 25.0, 1.0)]
    assert max(s.end - s.start for s in speech.joined(talk)) <= speech.LONGEST


def test_pocketsphinx_hears_no_words_in_a_tone_and_nothing_where_there_is_no_sound(
    heard: Media, tmp_path: Path
) -> None:
    pytest.importorskip("pocketsphinx", reason="the optional extra speech is not installed")
    tool = speech.PocketSphinx()
    assert sum(len(s.text.split()) for s in tool.look(heard)) <= 2
    assert tool.look(read_video(write_video(tmp_path / "b.mp4", 5))) == []
    assert tool.look(replace(heard, path=None)) == []


def test_pocketsphinx_understands_speech(heard: Media, shared_data: Path) -> None:
    pytest.importorskip("pocketsphinx", reason="the optional extra speech is not installed")
    spoken = sorted(shared_data.glob("speech/*.wav"))
    if not spoken:
        pytest.skip(
            f"no recorded speech in {shared_data}/speech, and nothing here that could speak"
        )
    for path in spoken:
        words = " ".join(s.text for s in speech.PocketSphinx().look(replace(heard, path=path)))
        assert set(words.split()) & set(path.with_suffix(".txt").read_text().lower().split())


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ChatError, match=r"pip install 'vlcourse\[speech\]'"):
        speech.PocketSphinx()


def fake(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[tuple[Any, ...]]:
    """Put a pipeline in transformers' place that gives an answer, and keep what it was asked."""
    asked: list[tuple[Any, ...]] = []

    def pipe(*inputs: Any, **how: Any) -> Any:
        asked.append((inputs, how))
        return answer

    monkeypatch.setattr(pipelines, "_pipeline", lambda task, source: pipe)
    return asked


def test_whisper_is_given_one_channel_and_its_times_are_the_videos(
    monkeypatch: pytest.MonkeyPatch, heard: Media
) -> None:
    chunks = [
        {"timestamp": (0.5, 1.0), "text": " Hello."},
        {"timestamp": (1.0, None), "text": " Bye. "},
        {"timestamp": (1.5, 2.0), "text": " "},
    ]
    asked = fake(monkeypatch, {"text": "", "chunks": chunks})
    monkeypatch.setattr(pipelines, "PIECE", RATE)  # a second at a time
    found = pipelines.Whisper("some/whisper").look(heard)
    assert [s.text for s in found] == ["Hello.", "Bye."] * len(asked) and len(asked) >= 2
    wave = asked[0][0][0]
    assert wave["sampling_rate"] == RATE and wave["raw"].dtype == np.float32
    assert 0.01 < np.abs(wave["raw"]).max() <= 1
    second = len(wave["raw"]) / RATE
    assert found[0] == Segment(0.5, 1.0, "Hello.") and found[2].start == pytest.approx(second + 0.5)


def test_a_detector_looks_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    box = {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
    asked = fake(monkeypatch, [{"label": "cat", "score": 0.9, "box": box}])
    frames = torch.zeros(12, 3, 8, 8, dtype=torch.uint8)
    film = Media("film", frames, tuple(float(t) for t in range(12)), 12.0)
    found = pipelines.Detector("some/detr").look(film)
    spans = ((0, 5), (5, 10), (10, 12))
    assert found == [Segment(start, end, "cat", (1, 2, 3, 4)) for start, end in spans]
    assert asked[0][0][0].size == (8, 8) and asked[0][1] == {"threshold": 0.5}


def test_a_detector_of_the_library_is_asked_as_it_wants_to_be(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        image_size=[32, 32], patch_size=16, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, num_detection_tokens=3,
        id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1},
    )  # fmt: skip
    transformers.YolosForObjectDetection(config).save_pretrained(tmp_path)
    transformers.YolosImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    film = Media("film", torch.zeros(1, 3, 40, 60, dtype=torch.uint8), (0.0,), 1.0)
    found = pipelines.Detector(str(tmp_path), least=0.0).look(film)
    assert found and all(s.text in ("cat", "dog") and s.box is not None for s in found)


@pytest.fixture(scope="module")
def videomae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier of videos."""
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(
        image_size=32, patch_size=16, num_frames=4, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, id2label={0: "running", 1: "jumping"},
        label2id={"running": 0, "jumping": 1},
    )  # fmt: skip
    made = tmp_path_factory.mktemp("videomae")
    transformers.VideoMAEForVideoClassification(config).save_pretrained(made)
    size = {"shortest_edge": 32}
    crop = {"height": 32, "width": 32}
    transformers.VideoMAEImageProcessor(size=size, crop_size=crop).save_pretrained(made)
    return made


@pytest.mark.parametrize("frames", [1, 3, 9])
def test_an_action_has_one_label_however_many_frames_there_are(videomae: Path, frames: int) -> None:
    pixels = torch.randint(256, (frames, 3, 40, 60), dtype=torch.uint8)
    film = Media("film", pixels, tuple(float(t) for t in range(frames)), float(frames))
    found = pipelines.ActionLabel(str(videomae)).look(film)
    assert [(s.start, s.end) for s in found] == [(0.0, frames)]
    assert found[0].text in ("running", "jumping")


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for tool in (pipelines.Whisper, pipelines.Detector, pipelines.ActionLabel):
        with pytest.raises(ChatError, match="cannot be used for") as refused:
            tool(str(tmp_path))
        assert "\n" not in str(refused.value)
