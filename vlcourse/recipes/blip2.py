"""BLIP-2's runs: the toy world's, and the paper's."""

from __future__ import annotations

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.blip2 import BLIP2Config
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.recipes.blip2_data import BLIP2Data
from vlcourse.recipes.clip import TOY_GRID
from vlcourse.recipes.recipe import Part, Recipe
from vlcourse.tokenizers import TOY_VOCAB

TOY_QFORMER = QFormerConfig(
    queries=8, vocab_size=TOY_VOCAB + 2, context=64, width=128, layers=4, heads=4,
    image_width=32 * TOY_GRID.width, cls=TOY_VOCAB - 2, sep=TOY_VOCAB - 1, dec=TOY_VOCAB + 1,
)  # fmt: skip
TOY_BLIP2 = BLIP2Config(embed=128, image=TOY_GRID, qformer=TOY_QFORMER, temperature_lr=0.1)
TOY_TOWER = Part("image", "clip-toy-grid", frozen=True)

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="blip2-toy",
        doc="BLIP-2's first stage on the toy world: a Q-Former on clip-toy-grid's frozen tower.",
        model=TOY_BLIP2,
        data=BLIP2Data(objects=(1, 2), foils=True),
        train=TrainConfig(steps=1900, batch_size=64, lr=1e-3),
        run=RunConfig(save_every=500),
        parts=(TOY_TOWER,),
    ),
)
