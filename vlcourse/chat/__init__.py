"""Talking about a video or a picture: what is seen, put into words, asked, and answered."""

from __future__ import annotations

from vlcourse import VlcourseError

TALKERS: dict[str, str] = {
    "videochat-text": "the video in words, and a language model that answers",
    "videochat-embed": "its frames as vectors among a language model's words",
    "blip-toy-vqa": "BLIP, asked about the frame in the middle",
    "blip2-toy-llm": "BLIP-2 before a decoder, about the frame in the middle",
    "blip2-toy-seq2seq": "BLIP-2 before an encoder-decoder, about the same frame",
    "adapter-v2-toy-visual": "LLaMA-Adapter V2, about the frame in the middle",
}
"""Who can be talked with, and what each is; :mod:`vlcourse.chat.talkers` makes them."""


class ChatError(VlcourseError, ValueError):
    """A question, a file or a model with which no talk is possible."""
