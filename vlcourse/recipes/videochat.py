"""VideoChat's runs: the toy world's, and the paper's."""

from __future__ import annotations

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.gmhra import GMHRAConfig
from vlcourse.models.videochat import VideoChatConfig
from vlcourse.recipes.blip2 import TOY_BLIP2, TOY_MUTE, TOY_TOWER
from vlcourse.recipes.clip import TOY_GRID
from vlcourse.recipes.llama import TOY_LLAMA
from vlcourse.recipes.recipe import Part, Recipe
from vlcourse.recipes.videochat_data import FilmData

# The toy tower gives a grid without a class token, and its last blocks are of other sizes: one
# aggregator looks at what it gives at last. A clock tells frames their order.
TOY_VIDEOCHAT = VideoChatConfig(
    image=TOY_GRID, image_embed=TOY_BLIP2.embed, qformer=TOY_MUTE.qformer, llm=TOY_LLAMA,
    spread=4, qformer_lr=0.3, queries_at=1, tune_qformer=True, clock="order",
    gmhra=GMHRAConfig(layers=1, heads=8, mlp_ratio=1.0, dropout=0.1, local=1, reduction=4.0),
    extra_queries=24, extra_std=0.02,
)  # fmt: skip

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="videochat-toy",
        doc="VideoChat on films of the toy world: questions that only time answers.",
        model=TOY_VIDEOCHAT,
        data=FilmData(n_train=20_000),
        train=TrainConfig(steps=4000, batch_size=32, lr=2e-3, weight_decay=0.05),
        run=RunConfig(save_every=1000, eval_every=1000),
        parts=(Part("", "blip2-toy"), TOY_TOWER, Part("llm", "llm-time", frozen=True)),
    ),
)
