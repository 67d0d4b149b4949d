"""Visitors of the chat's page with a headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

SECOND = 1000
OPTIONS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update""".split()
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
INSTALL = "no Chromium here: apt-get install chromium, or .venv/bin/playwright install chromium"


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium; the test is skipped where there is none."""
    with sync_playwright() as started:
        own = Path(started.chromium.executable_path)
        found = next(filter(None, map(shutil.which, NAMES)), str(own) if own.is_file() else None)
        if found is None:
            pytest.skip(INSTALL)
        launched = started.chromium.launch(executable_path=found, args=OPTIONS)
        yield launched
        launched.close()


class Tab:
    """One visitor's page, what it asked the network for, and what its console said."""

    def __init__(self, chromium: Any, address: str, size: tuple[int, int] = (1280, 800)) -> None:
        self.context = chromium.new_context(viewport={"width": size[0], "height": size[1]})
        self.page = self.context.new_page()
        self.page.set_default_timeout(60 * SECOND)
        self.asked: list[str] = []
        self.console: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda m: self.console.append(f"{m.type}: {m.text}"))
        self.page.goto(address)
        self.page.wait_for_selector("#left-account .account")

    def hosts(self) -> set[str]:
        """Every machine that the page asked for something."""
        parts = (urlsplit(url) for url in self.asked)
        return {str(part.hostname) for part in parts if part.scheme in ("http", "https", "ws")}

    def ask(self, question: str) -> None:
        self.page.fill("#question textarea", question)
        self.page.press("#question textarea", "Enter")

    def answered(self, text: str, side: str = "left") -> None:
        """Wait until the last bubble holds this."""
        script = """([side, text]) => {
            const all = document.querySelectorAll(`#${side}-chat .bot.message`);
            return all.length && all[all.length - 1].innerText.includes(text);
        }"""
        self.page.wait_for_function(script, arg=[side, text])

    def choose(self, side: str, talker: str) -> None:
        """Choose another talker, and wait until it has looked."""
        self.page.click(f"#{side}-talker input")
        self.page.click(f"#{side}-talker [role=option]:has-text('{talker} ·')")
        self.page.wait_for_selector(f"#{side}-account .account")

    def upload(self, path: Path) -> None:
        self.page.set_input_files("#upload input[type=file], input[type=file]", str(path))
