"""Lecture 01: CLIP."""

from __future__ import annotations

from vlcourse.teach.clip.claims import CLAIMS as CLAIMS
from vlcourse.teach.clip.exercises import EXERCISES as EXERCISES
from vlcourse.teach.clip.plots_claims import PLOTS as PLOTS
