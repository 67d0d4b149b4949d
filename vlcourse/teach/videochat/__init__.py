"""Lecture 07: VideoChat."""

from __future__ import annotations

from vlcourse.teach.videochat.claims import CLAIMS as CLAIMS
from vlcourse.teach.videochat.exercises import EXERCISES as EXERCISES
from vlcourse.teach.videochat.plots_claims import PLOTS as PLOTS
