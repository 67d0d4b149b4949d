"""Long work on many files: in parts, by any number of processes, and safe to kill."""

from __future__ import annotations

from vlcourse import VlcourseError


class JobError(VlcourseError, RuntimeError):
    """A job that cannot be done as it was asked for, or a folder that holds another one."""
