"""Exercises of the VideoChat lecture, in its order."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise
from vlcourse.teach.videochat.exercises import capstone, clock, labels, looking, sentence, textual

EXERCISES: tuple[Exercise, ...] = (
    *textual.EXERCISES,
    *sentence.EXERCISES,
    *clock.EXERCISES,
    *looking.EXERCISES,
    *labels.EXERCISES,
    *capstone.EXERCISES,
)
