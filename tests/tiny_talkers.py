"""Talkers of small models that nobody has trained."""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny_videochat import SMALL

from vlcourse import tokenizers
from vlcourse.chat.videochat_embed import VideoChatEmbed
from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.collate.video import VideoCollate
from vlcourse.data.corpus.dialogues import VIDEOCHAT, Template
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.videochat import VideoChat, VideoChatConfig
from vlcourse.recipes.blip2 import TOY_QFORMER
from vlcourse.recipes.llama import TOY_WORDS

TOWER = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1))
CONFIG = VideoChatConfig(
    image=TOWER, image_embed=8, gmhra=SMALL, extra_queries=3, extra_std=0.02, clock="seconds",
    qformer=replace(
        TOY_QFORMER, queries=2, width=16, layers=2, heads=2, image_width=64, text="none"
    ),
    llm=LLaMAConfig(TOY_WORDS, 16, 1, 2, hidden=16, context=512),
)  # fmt: skip


def embed(template: Template = VIDEOCHAT, context: int = 400) -> VideoChatEmbed:
    """One that looks at four frames of a film."""
    torch.manual_seed(0)
    model: VideoChat = CONFIG.build()
    with torch.no_grad():
        for parameter in model.llm.parameters():
            parameter.mul_(8)
    text = DialogueCollate(tokenizers.llama(), context, template)
    return VideoChatEmbed(model, VideoCollate(text), 4)
