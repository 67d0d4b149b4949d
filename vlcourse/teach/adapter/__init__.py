"""Lecture 06: LLaMA-Adapter."""

from __future__ import annotations

from vlcourse.teach.adapter.claims import CLAIMS as CLAIMS
from vlcourse.teach.adapter.exercises import EXERCISES as EXERCISES
from vlcourse.teach.adapter.plots_claims import PLOTS as PLOTS
