"""VideoChat-Text as a whole: from a file to an answer, in a terminal and in Python."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vlcourse.chat import TALKERS, talkers
from vlcourse.chat.llm import ToyReader
from vlcourse.chat.opening import open_media
from vlcourse.chat.perception import Kind, Perceived
from vlcourse.chat.protocol import Turn
from vlcourse.chat.tools.pipelines import picture
from vlcourse.chat.videochat_text import VideoChatText
from vlcourse.cli import main
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment
from vlcourse.data.world import Scene
from vlcourse.data.world.film import write_mp4
from vlcourse.data.world.timeline import Timeline


class Tags:
    """A tool that says what stands in a list, and counts how often it is asked."""

    kind: Kind = "caption"
    name = "tags"

    def __init__(self, *said: Segment) -> None:
        self.said, self.looks = said, 0

    def look(self, media: Media) -> list[Segment]:
        self.looks += 1
        return [*self.said]


class Echo:
    """A language model that says what it was given."""

    name = "echo"

    def text(self, seen: Perceived) -> str:
        return "what echo reads"

    def answer(self, seen: Perceived, question: str, history: Sequence[Turn]) -> Iterator[str]:
        yield from (seen.of("caption")[0].text, " ", question, f" {len(history)}")


def test_a_video_is_looked_at_once_and_forgotten_with_its_media(film: Media) -> None:
    tool = Tags(Segment(0, 9, "a ring"))
    talker = VideoChatText([tool], Echo())
    own = replace(film, name="own")
    assert talker.account(own).text.endswith("As echo reads it: what echo reads")
    assert "".join(talker.answer(own, " why? ", [Turn("a", "b")])) == "a ring why? 1"
    assert tool.looks == 1 and len(talker._kept) == 1
    del own
    gc.collect()
    assert not talker._kept


def test_the_text_is_that_of_one_frame_a_second(film: Media) -> None:
    account = VideoChatText([Tags(Segment(0, 9, "a ring"))], Echo()).account(film)
    assert account.times == tuple(float(second) for second in range(9))
    assert account.text.startswith("00:00-00:09 a ring.")


@pytest.fixture(scope="module")
def reader() -> ToyReader:
    return ToyReader("llm-toy")


def test_the_small_language_model_reads_a_picture_in_words(reader: ToyReader) -> None:
    told = Perceived(
        0.0, (("dense", (Segment(0, 0, "small red ring"), Segment(0, 0, "large blue star"))),)
    )
    assert reader.text(told) == "there is a small red ring and a large blue star."
    for question, answer in (
        ("What colour is the star?", "blue"),
        ("what shape is the red object?", "ring"),
    ):
        assert "".join(reader.answer(told, question, ())) == answer
    again = reader.answer(
        told, "what colour is the ring?", [Turn("what colour is the star?", "blue")]
    )
    assert "".join(again) == "red"


def test_a_long_talk_and_a_long_video_fit_the_context(reader: ToyReader) -> None:
    changes = tuple(Segment(t, t, "the red ring went left") for t in range(200))
    long = Perceived(200.0, (("change", changes),))
    assert 0 < len(reader.tokenizer.encode(reader.text(long))) < reader.model.config.context
    turns = [Turn("what colour is the star?", "blue")] * 100
    assert "".join(reader.answer(long, "what colour is the ring?", turns))


def test_ask_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = write_mp4(Timeline.sample(0, "test"), tmp_path / "film.mp4", 4, 96, subtitles=True)
    assert main(["ask", str(film), "what colour is the square?", "--show"]) == 0
    said = capsys.readouterr().out
    assert "00:00-" in said and "subtitle: at 00:02" in said and said.strip().splitlines()[-1]


def test_ask_about_a_picture_with_another_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene.sample(1)
    picture(scene.render(64)).save(tmp_path / "scene.png")
    question = scene.questions()[0]
    asked = ["ask", str(tmp_path / "scene.png"), question.text, "--model", "blip-toy-vqa"]
    assert main(asked) == 0
    assert capsys.readouterr().out == f"{question.answer}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["FILE"], "name a file and a question"),
        (["none.mp4", "why?"], "no such file"),
        (["FILE", " "], "there is no question"),
        (["FILE", "why?", "--model", "videochat-tex"], "videochat-text"),
        (["FILE", "why?", "--llm", "/nowhere/model"], "/nowhere/model cannot be loaded"),
        (["FILE", "why?", "--captioner", "/nowhere/model"], "/nowhere/model cannot be loaded"),
        (["FILE", "why?", "--detector", "/nowhere/model"], "/nowhere/model cannot be used"),
        (["FILE", "why?", "--model", "blip-toy-vqa", "--llm", "x"], "has its own models"),
        (["FILE", "why?", "--subtitles", "none.srt"], "none.srt cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    film = write_mp4(Timeline.sample(0, "test"), tmp_path / "film.mp4", 2, 32)
    assert main(["ask", *(str(film) if word == "FILE" else word for word in words)]) == 2
    refusal = capsys.readouterr().err
    assert said in refusal and refusal.count("\n") == 1


def test_every_model_that_talks_is_offered() -> None:
    assert [offer.name for offer in talkers.OFFERS] == list(TALKERS)
    there = {offer.name for offer in talkers.OFFERS if offer.ready}
    assert there >= {"videochat-text", "blip-toy-vqa", "blip2-toy-llm", "blip2-toy-seq2seq"}
    needs = {offer.name: offer.needs for offer in talkers.OFFERS}
    assert "llm-time" in needs["videochat-text"]  # which reads what the tools say
    assert needs["videochat-embed"] == ("videochat-toy",)
    assert needs["adapter-v2-toy-visual"] == ("adapter-v2-toy-visual",)


REAL = ("hitting_baseball.mp4", "jesse_dance.mp4", "yoga.mp4")
READY = [offer.name for offer in talkers.OFFERS if offer.ready]


@pytest.mark.parametrize("name", READY)
def test_real_videos_go_through_every_talker(name: str, shared_data: Path) -> None:
    talker = talkers.find(name)
    for file in REAL:
        media = open_media(shared_data / "video" / file)
        account = talker.account(media)
        assert account.text and set(account.times) <= set(media.times)
        assert "".join(talker.answer(media, "What is she doing?")).strip()
