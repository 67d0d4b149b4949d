"""The run of lecture 04's capstone: a first stage that takes half a minute."""

from __future__ import annotations

from dataclasses import replace

from vlcourse.engine.config import TrainConfig
from vlcourse.recipes.blip2 import TOY_BLIP2, TOY_QFORMER, TOY_TOWER
from vlcourse.recipes.blip2_data import BLIP2Data
from vlcourse.recipes.recipe import Recipe

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="blip2-capstone",
        doc="A small Q-Former on the frozen tower, for the three losses of your own.",
        model=replace(TOY_BLIP2, qformer=replace(TOY_QFORMER, width=64, layers=2)),
        data=BLIP2Data(objects=(1, 2)),
        train=TrainConfig(steps=200, batch_size=32, lr=3e-3, warmup=20),
        parts=(TOY_TOWER,),
    ),
)
