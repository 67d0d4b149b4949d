"""A talker that says what it was shown, slowly, and visitors of the page without a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from gradio_client import Client, handle_file
from PIL import Image

from vlcourse.chat import ChatError
from vlcourse.chat.protocol import Account, Turn
from vlcourse.data.media import Media

TALKER = "blip-toy-vqa"  # ships, so that every page offers it


class Parrot:
    """Says the question again, the mean colour of the first frame, and how many turns it knows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.go_on = threading.Event()  # cleared: it waits in the middle of an answer
        self.go_on.set()
        self.most = self.now = 0  # answers that were being written at the same time
        self.lock = threading.Lock()

    def account(self, media: Media) -> Account:
        times = media.uniform(4).times
        attention = torch.arange(1.0, len(times) + 1).repeat(3, 1).softmax(dim=-1)
        return Account(f"<b>{media.name}</b> & ${{7 * 7}}", times, attention)

    def answer(self, media: Media, question: str, history: Sequence[Turn] = ()) -> Iterator[str]:
        if "refuse" in question:
            raise ChatError("no, thank you")
        if "break" in question:
            raise ZeroDivisionError("a bug")
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield f"{question}: "
            self.go_on.wait(20)
            yield f"{colour(media)} "
            yield f"after {len(history)} turns"
        finally:
            with self.lock:
                self.now -= 1


def colour(media: Media) -> str:
    """The mean colour of the first frame, as #rrggbb, each rounded to 16 steps."""
    mean = media.frames[0].float().mean(dim=(1, 2)) / 17
    return "#" + "".join(f"{round(float(value)):x}" * 2 for value in mean)


class Visitor:
    """One visitor's session."""

    def __init__(self, address: str) -> None:
        self.client = Client(address, verbose=False, analytics_enabled=False)

    def choose(self, name: str) -> tuple[str, str]:
        """What is shown, and the notice."""
        return self._shown(self.client.predict(name, api_name="/choose"))

    def upload(self, path: Path) -> tuple[str, str]:
        """The same."""
        return self._shown(self.client.predict(handle_file(path), api_name="/upload"))

    @staticmethod
    def _shown(found: Any) -> tuple[str, str]:
        return found[0], found[1]

    def look(self, side: str = "left") -> str:
        """The account of a side's talker."""
        return self.client.predict(TALKER, api_name=f"/look_{side}")[0]

    def steps(self, question: str, side: str = "left") -> list[tuple[str, str]]:
        """The growing answer and the notice, at every step."""
        job = self.client.submit(question, TALKER, api_name=f"/{side}")
        job.result(timeout=60)
        return [(last(talk), notice) for talk, notice in job.outputs()]

    def ask(self, question: str, side: str = "left") -> str:
        """The whole answer."""
        return self.steps(question, side)[-1][0]


def last(talk: Any) -> str:
    """The text of the last message."""
    if not isinstance(talk, list) or not talk:
        return ""
    content = talk[-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def plain(path: Path, shade: str) -> Path:
    """A picture of one colour."""
    Image.new("RGB", (80, 60), shade).save(path)
    return path
