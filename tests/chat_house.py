"""The chat's page, served with a talker that says what it was shown, and what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import chat_fakes
import pytest
from chat_fakes import Parrot

from vlcourse.chat.serve import serving
from vlcourse.chat.talk import Cast

OURS = "vlcourse-chat-*"


class House:
    """A page that is served, the talker behind it, and the folder of its files."""

    def __init__(self, address: str, parrot: Parrot, folder: Path) -> None:
        self.address, self.parrot, self.folder = address, parrot, folder

    def kept(self) -> list[str]:
        """The names of all files below its folder."""
        return sorted(path.name for path in self.folder.glob(f"{OURS}/**/*") if path.is_file())


@contextmanager
def open_house(folder: Path) -> Iterator[House]:
    """A house that keeps its files below a folder, and at its end none of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
        patch.setenv("GRADIO_IS_E2E_TEST", "1")  # a heart beats four times a second, not in 15
        parrot = Parrot(chat_fakes.TALKER)
        with serving(0, Cast(lambda name: parrot)) as address:
            patch.setenv("NO_PROXY", "127.0.0.1")
            yield House(address, parrot, folder)
        assert not list(folder.glob(OURS))


def refusal(text: str) -> str:
    """The words of a notice."""
    assert "class='notice refused'" in text, text
    return text.split(">")[1].split("<")[0]
