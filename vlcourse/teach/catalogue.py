"""The lectures' own folders: each declares its EXERCISES, its CLAIMS and the PLOTS of these."""

from __future__ import annotations

from vlcourse.teach import adapter, blip, blip2, capfilt, clip, llama, overview, videochat

LECTURES = (overview, clip, blip, capfilt, blip2, llama, adapter, videochat)
