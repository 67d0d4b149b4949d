"""Both systems asked about the same films of the toy world, and what each of them got wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vlcourse.chat.llm import ToyReader
from vlcourse.chat.perception import KINDS
from vlcourse.chat.tools.toy import toy_tools
from vlcourse.chat.videochat_text import VideoChatText
from vlcourse.data.media import Media
from vlcourse.data.world import film
from vlcourse.data.world.timeline import Timeline
from vlcourse.evals.video import WITHIN, Asked, right

SIDE = 128  # pixels of a frame: the tools look closer than VideoChat-Embed's tower
EVERY: tuple[str, ...] = tuple(KINDS)


def media(timeline: Timeline, fps: float = 1.0) -> Media:
    """A film as the chat holds it: ``fps`` frames of each second, and what is said in it."""
    times = film.frame_times(timeline.duration, fps)
    return Media(
        "a film", film.frames(timeline, times, SIDE), tuple(times), float(timeline.duration),
        subtitles=timeline.subtitles(),
    )  # fmt: skip


def readers(**tools: Collection[str]) -> dict[str, VideoChatText]:
    """VideoChat-Texts with the same models, each with the tools of some kinds only.

    ``tools``: a name → kinds of :data:`vlcourse.chat.perception.KINDS`.
    """
    every, llm = toy_tools(), ToyReader("llm-time")
    return {
        name: VideoChatText([tool for tool in every if tool.kind in kinds], llm, name)
        for name, kinds in tools.items()
    }


def read(talker: VideoChatText, asked: Sequence[Asked]) -> list[str]:
    """What a VideoChat-Text answers to each question about a film."""
    return [
        "".join(talker.answer(media(Timeline.of(script)), question.text))
        for script, question in asked
    ]


def wrong(asked: Sequence[Asked], answers: Mapping[str, Sequence[str]]) -> list[int]:
    """Of each system and each kind of question, the first one that it answered wrongly.

    Args:
        asked: questions about films.
        answers: who → an answer to each.

    Returns:
        Their numbers, each once, in order. A time may be a second off.
    """
    found: dict[tuple[str, str], int] = {}
    for number, (_, question) in enumerate(asked):
        for who, said in answers.items():
            if not right(question, said[number], WITHIN):
                found.setdefault((who, question.kind), number)
    return sorted(set(found.values()))


def table(asked: Sequence[Asked], answers: Mapping[str, Sequence[str]], rows: Sequence[int]) -> Any:
    """Questions side by side with their answers, right ones with ✓, wrong ones with ✗, as Markdown.

    Args:
        asked, answers: as in :func:`wrong`.
        rows: the questions' numbers.
    """
    from IPython.display import Markdown

    lines = [
        f"| kind | question | right is | {' | '.join(answers)} |",
        "|---|---|---|" + "---|" * len(answers),
    ]
    for number in rows:
        question = asked[number][1]
        cells = [
            ("✓ " if right(question, said[number], WITHIN) else "✗ ") + said[number]
            for said in answers.values()
        ]
        cells = [question.kind, question.text, question.answer, *cells]
        lines.append(f"| {' | '.join(cells)} |")
    return Markdown("\n".join(lines))
