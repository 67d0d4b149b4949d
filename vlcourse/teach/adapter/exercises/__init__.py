"""The exercises of lecture 06."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise

EXERCISES: tuple[Exercise, ...] = ()
