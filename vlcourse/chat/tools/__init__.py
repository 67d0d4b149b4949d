"""VideoChat-Text's tools: the course's own models, transformers' pipelines, and pocketsphinx."""

from __future__ import annotations
