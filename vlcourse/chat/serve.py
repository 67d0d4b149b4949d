"""Serving the page on the loopback address: to this machine alone, with nothing from outside."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlcourse.chat import ChatError
from vlcourse.chat.page import build
from vlcourse.chat.talk import Cast
from vlcourse.chat.visits import Visits

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost", "[::1]")
PORTS = 100  # how many are tried from the first one on
LARGEST = 500_000_000  # bytes of an upload
# Of the fonts that come with Gradio, one whose files hold all letters in these weights.
FONTS = (gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif")
# The browser itself refuses what would come from another address.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)


class Guard:
    """Answers to this machine's own names only, and tells the browser to fetch nothing elsewhere.

    A page on the web whose name was made to point at 127.0.0.1 would have another name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            answer = PlainTextResponse("this page is for this machine only", 403)
            return await answer(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        await self.app(scope, receive, guarded)


@contextmanager
def serving(port: int = 7860, cast: Cast | None = None) -> Iterator[str]:
    """Serve the page while in the context; at its end every file that came is deleted.

    Args:
        port: the first that is tried; 0: any free one.
        cast: who can be asked; everybody in the course.

    Yields:
        The page's address.

    Raises:
        ChatError: when no port is free, or no model that talks is there.
    """
    with TemporaryDirectory(prefix="vlcourse-chat-") as name, _environment(Path(name)):
        visits = Visits(_made(Path(name) / "files"))
        page = build(visits, cast or Cast())
        try:
            yield _launched(page, port)
        finally:
            page.close(verbose=False)


def _launched(page: gr.Blocks, port: int) -> str:
    look: dict[str, Any] = {
        "theme": gr.themes.Default(primary_hue="blue", secondary_hue="slate", font=FONTS),
        "css_paths": [Path(__file__).with_name(name) for name in ("strip.css", "page.css")],
    }
    for number in range(port, port + PORTS) if port else (_free(),):
        try:
            _, address, _ = page.launch(
                server_name=LOOPBACK, server_port=number, share=False, inline=False,
                prevent_thread_lock=True, quiet=True, max_file_size=LARGEST, ssr_mode=False,
                footer_links=[], run_history=False, enable_monitoring=False, mcp_server=False,
                num_workers=0, root_path="", app_kwargs={"middleware": [Middleware(Guard)]},
                **look,
            )  # fmt: skip
        except OSError:  # somebody else's
            continue
        return address
    raise ChatError(
        f"none of the ports {port} to {port + PORTS - 1} is free: name another with --port"
    )


def _free() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Gradio's folder is ours, and what would reach this machine goes through no proxy."""
    bypass = ",".join(filter(None, (os.environ.get("NO_PROXY"), LOOPBACK, "localhost")))
    wanted = {
        "GRADIO_TEMP_DIR": str(_made(folder / "uploads")), "GRADIO_ANALYTICS_ENABLED": "False",
        "NO_PROXY": bypass, "no_proxy": bypass,
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
