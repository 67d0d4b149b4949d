"""Exercises of the overview, in its order."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise
from vlcourse.teach.overview.exercises import guess, leaks, world

EXERCISES: tuple[Exercise, ...] = (*world.EXERCISES, *guess.EXERCISES, *leaks.EXERCISES)
