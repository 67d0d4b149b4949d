"""BLIP-2's runs: the toy world's, and the paper's."""

from __future__ import annotations

from dataclasses import replace

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.blip2 import BLIP2Config
from vlcourse.models.blip2_llm import BLIP2LLMConfig
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.recipes import llama
from vlcourse.recipes.blip2_data import BLIP2Data, TextsData
from vlcourse.recipes.clip import TOY_GRID
from vlcourse.recipes.recipe import Part, Recipe
from vlcourse.tokenizers import TOY_VOCAB

TOY_QFORMER = QFormerConfig(
    queries=8, vocab_size=TOY_VOCAB + 2, context=64, width=128, layers=4, heads=4,
    image_width=32 * TOY_GRID.width, cls=TOY_VOCAB - 2, sep=TOY_VOCAB - 1, dec=TOY_VOCAB + 1,
)  # fmt: skip
TOY_BLIP2 = BLIP2Config(embed=128, image=TOY_GRID, qformer=TOY_QFORMER, temperature_lr=0.1)
TOY_MUTE = BLIP2LLMConfig(
    image=TOY_GRID, image_embed=TOY_BLIP2.embed, qformer=replace(TOY_QFORMER, text="none")
)
TOY_TOWER = Part("image", "clip-toy-grid", frozen=True)
LLMS = {recipe.name: recipe.model for recipe in llama.RECIPES}


def toy_second(name: str, llm: str, at: int) -> Recipe:
    """A second stage of the toy world before a frozen language model of the course."""
    model = replace(TOY_MUTE, llm=LLMS[llm], queries_at=at)
    return Recipe(
        name=name,
        doc=f"BLIP-2's second stage on the toy world: blip2-toy's queries speak to a frozen {llm}.",
        model=model,
        data=TextsData(objects=(1, 2), n_train=20_000),
        train=TrainConfig(steps=5000, batch_size=48, lr=2e-3, weight_decay=0.05),
        run=RunConfig(save_every=1000, eval_every=1000),
        parts=(Part("", "blip2-toy"), TOY_TOWER, Part("llm", llm, frozen=True)),
    )


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
    toy_second("blip2-toy-llm", "llm-toy", at=1),
    toy_second("blip2-toy-seq2seq", "seq2seq-toy", at=0),
)
