"""The page in a headless Chromium: what a visitor sees, and that nothing comes from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chat_fakes
import pytest
from chat_fakes import Parrot, plain
from chat_tabs import SECOND, Tab

from vlcourse.chat import serve, talk
from vlcourse.chat.examples import EXAMPLES

pytestmark = pytest.mark.slow
LARGEST = 300_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Parrot, Path]]:
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        patch.setattr(serve, "LARGEST", LARGEST)
        parrot = Parrot(chat_fakes.TALKER)
        with serve.serving(0, talk.Cast(lambda name: parrot)) as address:
            yield address, parrot, folder


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
    tab.choose("right", chat_fakes.TALKER)
    tab.ask("both?")
    tab.answered("both?: ", "left")
    tab.answered("both?: ", "right")


def test_attention_stands_at_the_times_of_its_frames(tab: Tab) -> None:
    media = next(iter(EXAMPLES.values())).shown()[0]
    times = media.uniform(4).times  # those that the parrot sees
    whole, *bars = tab.page.evaluate("""() => ['.account', '.seen b'].flatMap(
        name => [...document.querySelectorAll('#left-account ' + name)].map(
            each => [each.getBoundingClientRect().left, each.getBoundingClientRect().width]))""")
    shown = [(left - whole[0]) / whole[1] * media.duration for left, _ in bars]
    assert shown == pytest.approx(times, abs=0.02 * media.duration)


def test_on_a_phone_nothing_hangs_over(chromium: Any, house: tuple[str, Parrot, Path]) -> None:
    tab = Tab(chromium, house[0], (390, 844))
    tab.ask("what?")
    tab.answered("after 0 turns")
    tab.page.click("#left-account summary")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    for part in ("#example", "#upload", "#shown .row", "#left", "#right", "#question", "#send"):
        box = tab.page.locator(part).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390, part
    tab.context.close()


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
