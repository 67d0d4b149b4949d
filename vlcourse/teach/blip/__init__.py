"""Lecture 02: BLIP."""

from __future__ import annotations

from vlcourse.teach.blip.claims import CLAIMS as CLAIMS
from vlcourse.teach.blip.exercises import EXERCISES as EXERCISES
from vlcourse.teach.blip.plots_claims import PLOTS as PLOTS
