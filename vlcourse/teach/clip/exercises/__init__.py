"""Exercises of the CLIP lecture, in its order."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise
from vlcourse.teach.clip.exercises import (
    capstone,
    classifier,
    gather,
    itc,
    merges,
    patches,
    pooling,
)

EXERCISES: tuple[Exercise, ...] = (
    *patches.EXERCISES,
    *pooling.EXERCISES,
    *itc.EXERCISES,
    *capstone.EXERCISES,
    *classifier.EXERCISES,
    *merges.EXERCISES,
    *gather.EXERCISES,
)
