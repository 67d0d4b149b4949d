"""Lecture 05: LLaMA."""

from __future__ import annotations

from vlcourse.teach.llama.claims import CLAIMS as CLAIMS
from vlcourse.teach.llama.exercises import EXERCISES as EXERCISES
from vlcourse.teach.llama.plots_claims import PLOTS as PLOTS
