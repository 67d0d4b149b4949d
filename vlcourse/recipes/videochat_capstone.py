"""The run of lecture 07's capstone: a short second stage, for a forward pass of the student's."""

from __future__ import annotations

from dataclasses import replace

from vlcourse.engine.config import TrainConfig
from vlcourse.recipes.recipe import Part, Recipe
from vlcourse.recipes.videochat import TOY_FILMS, TOY_LLM, TOY_TOWER, TOY_VIDEOCHAT

# What its queries have learned of pictures, and how they speak to the language model. Aggregators,
# clock and the queries for videos begin anew. The Q-Former is frozen, as in the paper.
FROM = "videochat-toy"

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="videochat-capstone",
        doc="A VideoChat that learns for half a minute, for a forward pass of your own.",
        model=replace(
            TOY_VIDEOCHAT,
            clock="seconds",
            tune_qformer=False,
            gmhra=replace(TOY_VIDEOCHAT.gmhra, dropout=0.0),
        ),
        data=replace(TOY_FILMS, n_train=0, frames=8),
        train=TrainConfig(steps=100, batch_size=12, lr=2e-3, warmup=10, weight_decay=0.05),
        parts=(
            Part("qformer", FROM, frozen=True),
            Part("projection", FROM),
            Part("norm_image", FROM),
            TOY_TOWER,
            TOY_LLM,
        ),
    ),
)
