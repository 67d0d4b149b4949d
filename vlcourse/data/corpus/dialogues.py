"""A chat about a video or a picture in the words that a language model reads.

VideoChat's layout (Li et al. 2023, section 3.2):

    ###Human: <Video>[queries]</Video> The video contains 8 frames sampled at 0.1, 1.3, … seconds.
    ###Human: what happens? ###Assistant: a cat falls ###Human: why? ###Assistant: it slept ###

Only answers are learned, each with the sign after it, by which the model says that it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vlcourse.data.collate.text import Parts
from vlcourse.data.media import sampled
from vlcourse.data.world.dice import Dice


@dataclass(frozen=True)
class Template:
    """The words around a chat; pieces are joined by spaces."""

    video: tuple[str, str] = ("###Human: <Video>", "</Video>")
    """What stands before and after the queries of a video."""
    image: tuple[str, str] = ("###Human: <Image>", "</Image>")
    """The same for a picture."""
    times: bool = True
    """Say how many frames a video has and when each was."""
    human: str = "###Human: {}"
    """A question."""
    again: str = "Human: {}"
    """A question after an answer, whose end has said the sign already."""
    assistant: str = "###Assistant:"
    """What an answer comes after."""
    end: str = " ###"
    """What follows an answer at once."""
    system: str = ""
    """What stands before everything."""


VIDEOCHAT = Template()
TOY = Template(
    video=("", ""), image=("", ""), times=False, human="question: {}", again="question: {}",
    assistant="answer:", end=".",
)  # fmt: skip
"""The toy language models' own words for questions; the queries stand where a text would."""
TEMPLATES: dict[str, Template] = {"videochat": VIDEOCHAT, "toy": TOY}

# What an alignment asks for; "{}" is "video" or "image". (The release has eleven sentences, too.)
DESCRIBE: tuple[str, ...] = (
    "Describe the {} in a sentence.",
    "What does the {} show?",
    "Tell in short what the {} is about.",
    "Sum up this {}.",
    "What can be seen in the {}?",
    "Say briefly what the {} contains.",
    "Give a short description of the {}.",
    "Explain in a few words what this {} shows.",
    "Write a caption for the {}.",
    "What is the content of this {}?",
    "In one sentence, what is in the {}?",
)


class Dialogue(NamedTuple):
    """A chat as pieces of text."""

    before: str
    """What stands before the queries."""
    parts: Parts
    """What stands after them, each piece with whether it is to be learned."""


def asked_to_describe(key: int, video: bool) -> str:
    """One of the requests for a short description, chosen by ``key``."""
    what = "video" if video else "image"
    return Dice(key, "asked to describe").pick(DESCRIBE).format(what)


def dialogue(
    turns: Sequence[tuple[str, str]],
    times: Sequence[float] | None = None,
    template: Template = VIDEOCHAT,
) -> Dialogue:
    """A chat in a template.

    Args:
        turns: questions with their answers, in order. An empty answer of the last turn is still to
            be written: what the model is given ends before it.
        times: when the frames of the video were, in seconds; None: it is a picture.
        template: the words around.
    """
    opened, closed = template.image if times is None else template.video
    before = " ".join(filter(None, (template.system, opened)))
    said = [closed, sampled(tuple(times)) if times is not None and template.times else ""]
    parts: list[tuple[str, bool]] = []
    for i, (question, answer) in enumerate(turns):
        asked = (template.again if i else template.human).format(question)
        parts.append((" ".join(filter(None, (*said, asked, template.assistant))), False))
        if answer or i + 1 < len(turns):
            parts.append((answer + template.end, True))
        said = []
    return Dialogue(before, tuple(parts))
