"""Lecture 06: LLaMA-Adapter."""

from __future__ import annotations

from vlcourse.teach.adapter.exercises import EXERCISES as EXERCISES
from vlcourse.teach.measurement import Claim as Claim

CLAIMS: tuple[Claim, ...] = ()
PLOTS: dict[str, str] = {}
