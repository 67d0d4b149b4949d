"""``vlcourse ask``: one question about a video or a picture, answered in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vlcourse.chat import ChatError, talkers
from vlcourse.chat.llm import TransformersChat
from vlcourse.chat.opening import open_media
from vlcourse.chat.perception import Subtitles, Tool
from vlcourse.chat.tools import pipelines
from vlcourse.chat.tools.speech import PocketSphinx
from vlcourse.chat.tools.toy import toy_tools
from vlcourse.chat.videochat_text import VideoChatText
from vlcourse.data.sources.find import local_path
from vlcourse.data.sources.subtitles import read_subtitles, subtitles_beside

TEXT = "videochat-text"
SPHINX = "pocketsphinx"


@dataclass(frozen=True)
class Weights:
    """Models of yours that take the place of the toys' in VideoChat-Text: folders, or hub ids."""

    llm: str = ""
    """A chat model."""
    captioner: str = ""
    """A BLIP that writes."""
    detector: str = ""
    """A model that finds things."""
    action: str = ""
    """A model that classifies videos."""
    speech: str = ""
    """A Whisper; or "pocketsphinx"."""

    @property
    def any(self) -> bool:
        """Whether one is named."""
        return self != Weights()

    def tools(self) -> list[Tool]:
        """What looks and listens: the toys, if no model that looks is named."""
        named: list[Tool] = []
        if self.captioner:
            named.append(pipelines.captions(self.captioner))
        if self.detector:
            named.append(pipelines.Detector(self.detector))
        if self.action:
            named.append(pipelines.ActionLabel(self.action))
        found = [*named, Subtitles()] if named else toy_tools()
        if self.speech:
            found.append(
                PocketSphinx() if self.speech == SPHINX else pipelines.Whisper(self.speech)
            )
        return found


def talker(name: str, own: Weights) -> talkers.Talker:
    """The talker of a name; of VideoChat-Text, with the models that are named.

    Raises:
        ChatError: for an unknown name, a model that cannot be loaded, or models named for a talker
            that has its own.
    """
    if not own.any:
        return talkers.find(name)
    if name != TEXT:
        raise ChatError(f"{name} has its own models: name others for {TEXT} only")
    llm = TransformersChat(own.llm) if own.llm else talkers.toy_llm()
    return VideoChatText(own.tools(), llm)


@dataclass(frozen=True)
class Asked:
    """What is known of an answer before it is written."""

    notes: tuple[str, ...]
    """About the file."""
    account: str
    """What was seen in it."""
    pieces: Iterator[str]
    """Of the answer."""


def ask(place: str, question: str, name: str, own: Weights, subtitles: str = "") -> Asked:
    """Look at a file and answer a question about it.

    Args:
        place: a video or a picture.
        question: in words.
        name: of the talker.
        own: models in the place of the toys'.
        subtitles: a .srt file; "" takes that of the video's name beside it, if there is one.

    Raises:
        ChatError, SourceError, JobError: in a sentence, for whatever cannot be used.
    """
    path = Path(local_path(place))
    media = open_media(path)
    found = read_subtitles(subtitles) if subtitles else subtitles_beside(path)
    media = replace(media, subtitles=found)
    answers = talker(name, own)
    pieces = answers.answer(media, question)
    return Asked(media.notes, answers.account(media).text, pieces)
