"""The page in a headless Chromium: what a visitor sees, and that nothing comes from elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import chat_fakes
import pytest
from chat_fakes import Parrot, plain
from playwright.sync_api import sync_playwright

from vlcourse.chat import serve, talk
from vlcourse.chat.examples import EXAMPLES

pytestmark = pytest.mark.slow
OPTIONS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update""".split()
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
INSTALL = "no Chromium here: apt-get install chromium, or .venv/bin/playwright install chromium"
SECOND = 1000
LARGEST = 300_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as started:
        own = Path(started.chromium.executable_path)
        found = next(filter(None, map(shutil.which, NAMES)), str(own) if own.is_file() else None)
        if found is None:
            pytest.skip(INSTALL)
        browser = started.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Parrot, Path]]:
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        patch.setattr(serve, "LARGEST", LARGEST)
        parrot = Parrot(chat_fakes.TALKER)
        with serve.serving(0, talk.Cast(lambda name: parrot)) as address:
            yield address, parrot, folder


class Tab:
    """One visitor's page, what it asked the network for, and what its console said."""

    def __init__(self, chromium: Any, address: str) -> None:
        self.context = chromium.new_context(viewport={"width": 1280, "height": 800})
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

    def upload(self, path: Path) -> None:
        self.page.set_input_files("#upload input[type=file], input[type=file]", str(path))


@pytest.fixture
def tab(chromium: Any, house: tuple[str, Parrot, Path]) -> Iterator[Tab]:
    opened = Tab(chromium, house[0])
    yield opened
    opened.context.close()


def test_a_visit(tab: Tab, house: tuple[str, Parrot, Path], tmp_path: Path) -> None:
    page, parrot = tab.page, house[1]
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height <= 800, f"{height} pixels: not all of the page is seen at once"
    first = next(iter(EXAMPLES.values())).shown()[0]
    seconds = page.locator("#shown figcaption").all_inner_texts()
    assert seconds[0] == "0.0 s" and seconds[-1] == f"{first.times[-1]:.1f} s"
    assert page.locator("#shown video").evaluate("film => film.readyState >= 1 && film.duration")

    parrot.go_on.clear()  # it stops after the first piece, which is to be seen already
    try:
        tab.ask("what happens?")
        tab.answered("what happens?:")
        assert "turns" not in page.inner_text("#left-chat")
        assert page.input_value("#question textarea") == ""
    finally:
        parrot.go_on.set()
    tab.answered("after 0 turns")

    chip = page.locator("#chips button").nth(1)
    question = chip.inner_text().strip()
    chip.click()
    page.wait_for_function(
        "text => document.querySelector('#question textarea').value == text", arg=question
    )
    page.click("#send")
    tab.answered("after 1 turns")
    page.click("#left-account summary")
    assert page.locator("#left-account .tokens").is_visible()
    page.screenshot(path=tmp_path / "page.png")
    assert tab.hosts() == {"127.0.0.1"}
    assert not [line for line in tab.console if line.startswith("error")], tab.console


def test_two_sides_answer_the_same_question(tab: Tab) -> None:
    tab.page.click("#right-talker input")
    tab.page.click(f"#right-talker [role=option]:has-text('{chat_fakes.TALKER}')")
    tab.page.wait_for_selector("#right-account .account")
    tab.ask("both?")
    tab.answered("both?: ", "left")
    tab.answered("both?: ", "right")


def test_words_stay_words(tab: Tab) -> None:
    for words in ("<img src=x onerror=alert(1)>", "![a](http://evil.example/a.png)", "$x$ {{7*7}}"):
        tab.ask(words)
        tab.answered(f"{words}: ")
    assert tab.hosts() == {"127.0.0.1"} and not tab.page.locator("#left-chat img").count()


def test_an_empty_question_and_bad_files_are_answered_politely(
    tab: Tab, house: tuple[str, Parrot, Path], tmp_path: Path
) -> None:
    tab.ask("  ")
    tab.page.wait_for_selector("#said :text('no question')")
    (tmp_path / "words.mp4").write_text("not a film")
    tab.upload(tmp_path / "words.mp4")
    tab.page.wait_for_selector("#said :text('words.mp4')")
    (tmp_path / "huge.mp4").write_bytes(bytes(LARGEST + 1))
    tab.upload(tmp_path / "huge.mp4")
    tab.page.wait_for_selector(".toast-body:has-text('size')")
    tab.upload(plain(tmp_path / "fine.png", "#00ff00"))
    tab.page.wait_for_selector("#shown :text('fine.png')")
    tab.ask("green?")
    tab.answered("#00ff00")
    left = [path.name for path in house[2].glob("vlcourse-chat-*/**/*") if path.is_file()]
    assert left == ["fine.png"]  # of what was refused, nothing


def test_four_at_once_see_their_own_and_leave_nothing(
    chromium: Any, house: tuple[str, Parrot, Path], tmp_path: Path
) -> None:
    shades = ("#ff0000", "#00ff00", "#0000ff", "#ffff00")
    tabs = [Tab(chromium, house[0]) for _ in shades]
    for k, (tab, shade) in enumerate(zip(tabs, shades, strict=True)):
        tab.upload(plain(tmp_path / f"mine{k}.png", shade))
    for k, tab in enumerate(tabs):
        tab.page.wait_for_selector(f"#shown :text('mine{k}.png')")
        tab.page.wait_for_selector(f"#left-account :text('mine{k}.png')")
    for tab in tabs:
        tab.ask("which?")
    for k, (tab, shade) in enumerate(zip(tabs, shades, strict=True)):
        tab.answered(f"which?: {shade} after 0 turns")
        text = tab.page.inner_text("body")
        assert [other for other in range(4) if f"mine{other}.png" in text] == [k]
    kept = [path for path in house[2].rglob("mine*.png") if path.is_file()]
    assert len(kept) == 4
    for tab in tabs:
        tab.page.close()
    spare = Tab(chromium, house[0])
    for _ in range(60):
        if not [path for path in house[2].rglob("mine*") if path.is_file()]:
            break
        spare.page.wait_for_timeout(SECOND / 2)
    else:
        pytest.fail("the files of visitors who have gone are still there")
    spare.context.close()
