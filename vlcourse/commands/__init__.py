"""The subcommands of ``vlcourse``: their options, and what they do."""

from __future__ import annotations

from vlcourse import VlcourseError


class UsageError(VlcourseError, ValueError):
    """A command that cannot be carried out as it was typed."""
