"""Lecture 03: CapFilt."""

from __future__ import annotations

from vlcourse.teach.capfilt.claims import CLAIMS as CLAIMS
from vlcourse.teach.capfilt.exercises import EXERCISES as EXERCISES
from vlcourse.teach.capfilt.plots_claims import PLOTS as PLOTS
