"""Lecture 02's exercises."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise

EXERCISES: tuple[Exercise, ...] = ()
