"""The course's own talkers on the page, in a headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chat_tabs import Tab
from tiny_talkers import embed

from vlcourse.chat import serve, talk, talkers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def everybody() -> Iterator[str]:
    """The page with the course's own talkers; VideoChat-Embed is a small one, never trained."""
    found = {"videochat-embed": embed()}
    with pytest.MonkeyPatch.context() as patch:
        there = talkers._there
        patch.setattr(talkers, "_there", lambda name: name == "videochat-toy" or there(name))
        with serve.serving(0, talk.Cast(lambda n: found.get(n) or talkers.find(n))) as address:
            yield address


def test_text_and_embed_side_by_side(chromium: Any, everybody: str) -> None:
    tab = Tab(chromium, everybody)
    tab.page.wait_for_selector("#right-account .account")
    assert "00:00-00:05" in tab.page.inner_text("#left-account")
    assert "The video contains 4 frames" in tab.page.inner_text("#right-account")
    assert tab.page.locator("#right-account .seen b").count() == 4
    assert not tab.page.locator("#left-account .seen b").count()
    tab.page.click("#right-account summary")
    assert tab.page.locator("#right-account .tokens").is_visible()
    tab.ask("which way did the cross go?")
    tab.answered("down", "left")
    tab.answered("", "right")
    assert tab.hosts() == {"127.0.0.1"}
    tab.context.close()


def test_every_talker_that_is_there_can_be_chosen(chromium: Any, everybody: str) -> None:
    tab = Tab(chromium, everybody)
    for offer in [offer for offer in talkers.OFFERS if offer.ready]:
        tab.choose("right", offer.name)
        tab.ask(f"what colour is the triangle, {offer.name}?")
        tab.page.wait_for_function(
            """name => {
                const last = who => [...document.querySelectorAll(`#right-chat .${who}.message`)]
                    .map(each => each.innerText.trim()).at(-1) || '';
                return last('user').includes(name) && !['', '…'].includes(last('bot'));
            }""",
            arg=offer.name,
        )
    tab.context.close()
