"""Exercises of the overview, in its order."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise
from vlcourse.teach.overview.exercises import overview, world

EXERCISES: tuple[Exercise, ...] = (*overview.EXERCISES, *world.EXERCISES)
