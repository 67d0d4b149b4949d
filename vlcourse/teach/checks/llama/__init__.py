"""Exercises of the LLaMA lecture."""

from __future__ import annotations

from vlcourse.teach.checks.llama import cached, feed_forward, norm, pieces, rope, top_p
from vlcourse.teach.exercise import Exercise

EXERCISES: tuple[Exercise, ...] = (
    *pieces.EXERCISES,
    *norm.EXERCISES,
    *feed_forward.EXERCISES,
    *rope.EXERCISES,
    *cached.EXERCISES,
    *top_p.EXERCISES,
)
