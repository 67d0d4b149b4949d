"""The run of lecture 06's capstone: instructions that are learned in half a minute."""

from __future__ import annotations

from dataclasses import replace

from vlcourse.engine.config import TrainConfig
from vlcourse.recipes.adapter import FROZEN_IMAGE, FROZEN_LLM, TOY_V2
from vlcourse.recipes.adapter_data import ToldData
from vlcourse.recipes.recipe import Recipe

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="adapter-capstone",
        doc="A small LLaMA-Adapter V2 around the frozen llm-toy, for a forward pass of your own.",
        model=replace(TOY_V2, prompts=4),
        data=ToldData(objects=(2, 3)),
        train=TrainConfig(
            steps=150, batch_size=32, lr=2e-2, warmup=20, min_lr=0.05, weight_decay=0.02, beta2=0.95
        ),
        parts=(FROZEN_LLM, FROZEN_IMAGE),
    ),
)
