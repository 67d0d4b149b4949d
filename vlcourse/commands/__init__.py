"""What the subcommands of ``vlcourse`` do, where it is more than a call of the library."""

from __future__ import annotations

from vlcourse import VlcourseError


class UsageError(VlcourseError, ValueError):
    """A command that cannot be carried out as it was typed."""
