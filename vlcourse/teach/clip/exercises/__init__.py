"""Exercises of the CLIP lecture, in its order."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise
from vlcourse.teach.clip.exercises import capstone, gather, merges, model

EXERCISES: tuple[Exercise, ...] = (
    *model.EXERCISES,
    *merges.EXERCISES,
    *gather.EXERCISES,
    *capstone.EXERCISES,
)
