"""``vlcourse chat``: the page where one talks about a film or a picture.

Only the standard library is imported up here, as in :mod:`vlcourse.cli`.
"""

from __future__ import annotations

import argparse
import signal
import time
import webbrowser
from types import FrameType
from typing import Any

from vlcourse.commands import UsageError

DESCRIPTION = """Open a page in the browser on which two models at a time answer questions about a
film or a picture: drawn examples, or a file of yours. The page is for this machine alone, fetches
nothing from the network, and deletes each file when another is chosen, when its visitor goes, and
at the end (Ctrl-C)."""
MOST = 65_000  # leaves room for the further ports that are tried


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Tell the parser of this command."""
    sub = commands.add_parser("chat", help="talk about a film or a picture, in the browser")
    sub.usage = "vlcourse chat [--port N] [--no-browser]"
    sub.description = DESCRIPTION
    sub.add_argument("--port", type=int, default=7860, help="first port to try (default: 7860)")
    sub.add_argument("--no-browser", action="store_true", help="print the address only")
    sub.set_defaults(run=chat)


def chat(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C, or until the process is told to end."""
    if not 0 <= args.port <= MOST:
        raise UsageError(f"--port {args.port}: a port is a number from 1 to {MOST:,}")
    from vlcourse.chat.serve import serving

    signal.signal(signal.SIGTERM, _end)
    with serving(args.port) as address:
        print(f"the chat is at {address} (Ctrl-C ends it)", flush=True)
        if not args.no_browser:
            webbrowser.open(address)
        while True:
            time.sleep(3600)


def _end(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C does, so that the files are deleted."""
    raise KeyboardInterrupt
