"""A step's memory is kept for the next one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from vlcourse.engine import allocator

# Page faults of a process that makes and drops 32 MB ten times, after it did so for a while: first
# as it was started, then with its memory kept.
FAULTS = """
import resource, torch
from vlcourse.engine.allocator import keep_freed_memory
def faults():
    for _ in range(10):
        torch.ones(2**23)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
plain = faults()
assert keep_freed_memory()
print(plain, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_kept_memory_costs_no_page_faults() -> None:
    own = {name: text for name, text in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS]
    said = subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout
    plain, kept = map(int, said.split())
    assert kept < plain / 4


def test_nothing_happens_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False
