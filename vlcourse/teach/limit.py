"""A limit of time for code that may never end, in whatever thread it runs."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class TooLong(BaseException):
    """The time is over. No `Exception`, so that an ``except Exception`` does not swallow it."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in the block once it has run for ``seconds``, and each second after that.

    In the main thread a signal ends even a call that sleeps. Elsewhere, and on Windows, Python code
    is ended at its next instruction; a long call into a library ends first.
    """
    main = threading.current_thread() is threading.main_thread()
    with _by_signal(seconds) if main and hasattr(signal, "setitimer") else _by_thread(seconds):
        yield


@contextlib.contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _by_thread(seconds: float) -> Iterator[None]:
    over, target = threading.Event(), ctypes.c_ulong(threading.get_ident())
    turn = threading.Lock()  # so that nothing is raised after the block's end

    def stop() -> None:
        wait = seconds
        while not over.wait(wait):
            with turn:
                if not over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(TooLong))
            wait = 1.0

    threading.Thread(target=stop, daemon=True).start()
    try:
        yield
    finally:
        with turn:
            over.set()
