"""The page is closed to all but this machine: it fetches nothing, and leaves nothing changed."""

from __future__ import annotations

import json
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from chat_fakes import Parrot, plain
from chat_house import OURS, House

from vlcourse.chat import talk as talks
from vlcourse.chat.serve import serving
from vlcourse.chat.strip import notice

pytestmark = pytest.mark.slow


def fetched(address: str, **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_it_answers_to_this_machine_and_lets_the_browser_fetch_nothing_else(house: House) -> None:
    status, headers = fetched(house.address)
    assert status == 200 and "default-src 'self'" in headers["content-security-policy"]
    assert fetched(house.address, Host="evil.example:7860")[0] == 403
    port = int(house.address.rstrip("/").rpartition(":")[2])
    outside = socket.gethostbyname(socket.gethostname())
    with socket.socket() as other:
        assert outside.startswith("127.") or other.connect_ex((outside, port))


def test_no_address_is_fetched_and_no_file_of_this_machine_is_read(
    house: House, tmp_path: Path
) -> None:
    secret = plain(tmp_path / "secret.png", "#ff0000")
    for path in ("http://127.0.0.1:9/a.png", str(secret), "/etc/hostname", ""):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call = f"{house.address}gradio_api/call/upload"
        sent = urllib.request.Request(
            call, json.dumps({"data": [file]}).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(sent) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{call}/{event}") as answer:
            assert b"event: error" in answer.read()
    assert secret.is_file()


def test_the_environment_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = dict(os.environ)
    with serving(0, talks.Cast(Parrot)):
        assert len(list(tmp_path.glob(OURS))) == 1
    assert dict(os.environ) == before and not list(tmp_path.glob("*vlcourse*"))


def test_a_notice_is_never_html() -> None:
    assert "<script" not in notice("<script>") and notice("") == ""
