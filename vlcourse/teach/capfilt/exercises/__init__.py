"""Lecture 03's exercises, in its order."""

from __future__ import annotations

from vlcourse.teach.capfilt.exercises import bootstrap, keep, nucleus, rounds
from vlcourse.teach.checking import Exercise

EXERCISES: tuple[Exercise, ...] = (
    *keep.EXERCISES,
    *nucleus.EXERCISES,
    *bootstrap.EXERCISES,
    *rounds.EXERCISES,
)
