"""Exercises of the VideoChat lecture, in its order."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise
from vlcourse.teach.videochat.exercises import sentence, textual

EXERCISES: tuple[Exercise, ...] = (*textual.EXERCISES, *sentence.EXERCISES)
