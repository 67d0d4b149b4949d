"""Exercises of the LLaMA lecture."""

from __future__ import annotations

from vlcourse.teach.checking import Exercise
from vlcourse.teach.llama.exercises import cached, capstone, feed_forward, norm, pieces, rope, top_p

EXERCISES: tuple[Exercise, ...] = (
    *pieces.EXERCISES,
    *norm.EXERCISES,
    *feed_forward.EXERCISES,
    *rope.EXERCISES,
    *cached.EXERCISES,
    *top_p.EXERCISES,
    *capstone.EXERCISES,
)
