"""Exercises of the BLIP lecture, in its order."""

from __future__ import annotations

from vlcourse.teach.blip.exercises import capstone, cross, negatives, soft, switch, writing
from vlcourse.teach.checking import Exercise

EXERCISES: tuple[Exercise, ...] = (
    *switch.EXERCISES,
    *cross.EXERCISES,
    *soft.EXERCISES,
    *negatives.EXERCISES,
    *writing.EXERCISES,
    *capstone.EXERCISES,
)
