"""Exercises of the LLaMA-Adapter lecture, in its order."""

from __future__ import annotations

from vlcourse.teach.adapter.exercises import bias_scale, capstone, gated, groups, labels, start
from vlcourse.teach.checking import Exercise

EXERCISES: tuple[Exercise, ...] = (
    *gated.EXERCISES,
    *start.EXERCISES,
    *labels.EXERCISES,
    *bias_scale.EXERCISES,
    *groups.EXERCISES,
    *capstone.EXERCISES,
)
