"""Ctrl-C as a request to stop between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run that stopped between two steps and saved its state; the message says where."""


class Interrupts:
    """A context in which Ctrl-C sets ``seen``; a second one sets ``hard`` and stops at once.

    Outside the main thread, where Python allows no signal handlers, Ctrl-C stays what it was.
    """

    def __init__(self) -> None:
        self.seen = self.hard = False

    def __enter__(self) -> Interrupts:
        self._can = threading.current_thread() is threading.main_thread()
        if self._can:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._can:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.seen:
            self.hard = True
            raise KeyboardInterrupt
        self.seen = True
