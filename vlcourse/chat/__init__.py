"""Talking about a video or a picture: what is seen, put into words, asked, and answered."""

from __future__ import annotations

from vlcourse import VlcourseError


class ChatError(VlcourseError, ValueError):
    """A question, a file or a model with which no talk is possible."""
