"""Chats about videos from files of the release's form: read, refused, and broken ones counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlcourse import tokenizers
from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.collate.video import VideoCollate
from vlcourse.data.conversed import Conversed
from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.instruct import Record, Turn, read_instructions
from vlcourse.data.world.film import write_mp4
from vlcourse.data.world.timeline import Timeline

TEXT = DialogueCollate(tokenizers.llama(), 600)
CHAT = {"video": "v.mp4", "QA": [{"q": "who?", "a": "a ring"}, {"q": "when?", "a": "3 s"}]}
STILL = {"image": "p.png", "QA": [{"i": "be brief.", "q": "what?", "a": "a star"}]}
TOLD = {"video": "v.mp4", "caption": "a ring goes left"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("chats")
    write_mp4(Timeline.sample(3, seconds=(6, 6)), found / "v.mp4", fps=4, size=64)
    Image.fromarray(np.full((40, 60, 3), 90, dtype=np.uint8)).save(found / "p.png")
    (found / "broken.mp4").write_bytes(b"no film")
    return found


def written(folder: Path, records: list[Any], name: str = "f.json") -> Path:
    (folder / name).write_text(json.dumps(records))
    return folder / name


def test_videos_pictures_and_captions(folder: Path) -> None:
    file = written(folder, [CHAT, CHAT, STILL, TOLD])
    data = Conversed([file], TEXT, frames=4)
    film, still, told = (data[i] for i in range(len(data)))  # the first is held out
    assert film["frames"].shape == (4, 3, 64, 64) and film["frames"].dtype == torch.uint8
    assert film["seconds"] == pytest.approx((0.75, 2.25, 3.75, 5.25), abs=0.13)
    assert film["turns"] == (("who?", "a ring"), ("when?", "3 s"))
    assert still["image"].shape == (3, 40, 60) and still["turns"][0][0] == "be brief. what?"
    request, caption = told["turns"][0]
    assert "video" in request and caption == "a ring goes left"
    (held,) = Conversed([file], TEXT, split="test")
    assert held["id"] == "f.json:0"
    batch = VideoCollate(TEXT)([film, still, told])
    assert batch["pixels"].shape == (3, 4, 3, 32, 32)
    assert batch["shown"].sum(1).tolist() == [4, 1, 4]
    words = TEXT.tokenizer.decode(batch["tokens"][0].tolist())
    assert "The video contains 4 frames sampled at 0." in words


def test_where_a_film_starts_and_several_files_with_folders(folder: Path, tmp_path: Path) -> None:
    late = {**CHAT, "start": 3}
    one, two = (written(tmp_path, [late] * 2, name) for name in ("a.json", "b.json"))
    data = Conversed([one, two], TEXT, [folder, folder], frames=2)
    assert len(data) == 2 and data[1]["id"] == "b.json:1"
    assert all(time >= 3 for time in data[0]["seconds"])
    with pytest.raises(SourceError, match="2 files of chats and 1 folders"):
        Conversed([one, two], TEXT, [folder])
    for start, said in (("3", "'start' is '3', and no number"), (-1, "'start' is int -1")):
        bad = written(tmp_path, [CHAT, {**CHAT, "start": start}], "c.json")
        with pytest.raises(SourceError, match=f"c.json, record 1: {said}"):
            Conversed([bad], TEXT)


def test_a_video_of_fewer_frames_than_asked_for_is_told_as_it_is(folder: Path) -> None:
    write_mp4(Timeline.sample(4, seconds=(2, 2)), folder / "short.mp4", fps=1, size=32)
    (sample,) = Conversed(
        [written(folder, [CHAT, {**CHAT, "video": "short.mp4"}], "s.json")], TEXT, frames=8
    )
    times = sample["seconds"]
    assert len(sample["frames"]) == len(times) == 2 and times[0] < times[1]
    text = TEXT.tokenizer.decode(TEXT([sample])["tokens"][0].tolist())
    assert f"The video contains 2 frames sampled at {times[0]:.1f}, {times[1]:.1f} seconds." in text


def test_captions_are_a_form_only_where_they_are_meant(folder: Path) -> None:
    file = written(folder, [TOLD], "t.json")
    assert read_instructions(file, captions=True) == [
        Record("t.json:0", (Turn("", "a ring goes left"),), "v.mp4", film=True)
    ]
    with pytest.raises(SourceError, match="record 0 has neither"):
        read_instructions(file)
    for record, said in (
        ({"video": "v.mp4", "caption": 3}, "record 0: 'caption' is int 3, and no text"),
        ({"video": 7, "caption": "a"}, "record 0: 'video' is int 7, and no text"),
        ({"video": "v.mp4"}, 'has neither .* or "caption"; it has a struct of video'),
        ({"video": "v.mp4", "QA": [{"q": "a"}]}, r"record 0, QA\[0\]: 'a' is missing"),
    ):
        with pytest.raises(SourceError, match=said):
            Conversed([written(folder, [record], "u.json")], TEXT)
    with pytest.raises(SourceError, match="n.json:0 has neither 'video' nor 'image'"):
        Conversed([written(folder, [{"QA": CHAT["QA"]}], "n.json")], TEXT, split="test")


def test_what_the_context_cuts_off_is_dropped_and_said(folder: Path) -> None:
    long = {"video": "v.mp4", "QA": [{"q": "who? " * 200, "a": "a ring"}]}
    file = written(folder, [CHAT, CHAT, long], "l.json")
    with pytest.warns(
        UserWarning, match=r"skipped 1 of 2 samples .*1 answer cut off. First: l.json:2"
    ):
        assert len(Conversed([file], TEXT)) == 1
    file = written(folder, [CHAT, long], "l.json")
    with pytest.raises(SourceError, match="nothing is left for 'train'"):
        Conversed([file], TEXT)


def test_a_broken_video_is_replaced_and_a_broken_set_is_an_error(folder: Path) -> None:
    broken = {**CHAT, "video": "broken.mp4"}
    data = Conversed([written(folder, [CHAT, broken, *[CHAT] * 40], "b.json")], TEXT, frames=2)
    assert data[0]["id"] == data[1]["id"] == "b.json:2"
    assert data[0]["id"] == "b.json:2"  # not counted twice
    assert "1 video that cannot be read. First: b.json:1" in data.report()
    data = Conversed([written(folder, [CHAT, *[broken] * 5], "c.json")], TEXT)
    with pytest.raises(SourceError, match="More than 5% of 5 is too many"):
        data[0]
