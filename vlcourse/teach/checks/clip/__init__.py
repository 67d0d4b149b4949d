"""Exercises of the CLIP lecture, in its order."""

from __future__ import annotations

from vlcourse.teach.checks.clip import gather, merges, model
from vlcourse.teach.exercise import Exercise

EXERCISES: tuple[Exercise, ...] = (*model.EXERCISES, *merges.EXERCISES, *gather.EXERCISES)
