"""Lecture 07: VideoChat."""

from __future__ import annotations

from vlcourse.teach.videochat.exercises import EXERCISES as EXERCISES

CLAIMS: tuple = ()
PLOTS: dict = {}
