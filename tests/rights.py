"""Folders that cannot be written, for tests that root runs too."""

from __future__ import annotations

import os
import shutil

import pytest


def without_rights() -> list[str]:
    """A command prefix under which the permissions of files count; root passes over them."""
    if os.name == "nt":
        pytest.skip("permissions of folders mean something else on Windows")
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root, and no setpriv to give up its rights over files")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
