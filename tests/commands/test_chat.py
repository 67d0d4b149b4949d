"""``vlcourse chat`` as a process: what it says, whom it calls, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

# Says on stderr with which address, or about which name, the process talks to a network.
WATCHED = """
import sys

def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        found = arguments[1] if event == "socket.connect" else arguments
        print("NETWORK", found[0] if isinstance(found, tuple) else found, file=sys.stderr)

sys.addaudithook(hook)
from vlcourse import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM to catch on Windows")
def test_it_calls_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WATCHED, "chat", "--no-browser", "--port", "0"]
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("GRADIO", "HF_"))}
    variables |= {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables
    )
    try:
        assert child.stdout is not None
        said = child.stdout.readline()
        address = said.split()[4]
        with urllib.request.urlopen(address) as answer:
            assert b"gradio" in answer.read()
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("vlcourse-chat-")]
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert said.startswith("the chat is at http://127.0.0.1:") and child.returncode == 130
    called = {line.split()[1] for line in errors.splitlines() if line.startswith("NETWORK")}
    assert called <= {"127.0.0.1", "localhost", "0.0.0.0", "::1"}, errors
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("vlcourse")]
