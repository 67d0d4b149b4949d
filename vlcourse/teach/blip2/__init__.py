"""Lecture 04: BLIP-2."""

from __future__ import annotations

from vlcourse.teach.blip2.claims import CLAIMS as CLAIMS
from vlcourse.teach.blip2.exercises import EXERCISES as EXERCISES
from vlcourse.teach.blip2.plots_claims import PLOTS as PLOTS
