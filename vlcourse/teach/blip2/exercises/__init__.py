"""Exercises of the BLIP-2 lecture, in its order."""

from __future__ import annotations

from vlcourse.teach.blip2.exercises import best_query, capstone, masks, prefix, prompt, writing
from vlcourse.teach.checking import Exercise

EXERCISES: tuple[Exercise, ...] = (
    *masks.EXERCISES,
    *best_query.EXERCISES,
    *writing.EXERCISES,
    *prompt.EXERCISES,
    *prefix.EXERCISES,
    *capstone.EXERCISES,
)
