"""Lecture 00: what multimodal models are for, and the toy world."""

from __future__ import annotations

from collections.abc import Callable

from vlcourse.teach.measurement import Claim
from vlcourse.teach.overview.exercises import EXERCISES as EXERCISES

CLAIMS: tuple[Claim, ...] = ()
PLOTS: dict[str, Callable] = {}
