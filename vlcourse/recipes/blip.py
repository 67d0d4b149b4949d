"""BLIP's runs: the toy world's, and the paper's."""

from __future__ import annotations

from dataclasses import replace

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.blip import BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.med import MEDConfig
from vlcourse.recipes.blip_data import BLIPData
from vlcourse.recipes.clip import TOY_GRID
from vlcourse.recipes.recipe import Part, Recipe
from vlcourse.tokenizers import TOY_VOCAB

TOY_MED = MEDConfig(
    vocab_size=TOY_VOCAB + 2, context=64, width=128, layers=3, heads=4,
    image_width=32 * TOY_GRID.width, cls=TOY_VOCAB - 2, sep=TOY_VOCAB - 1, enc=TOY_VOCAB,
    dec=TOY_VOCAB + 1,
)  # fmt: skip
TOY_BLIP = BLIPConfig(embed=128, image=TOY_GRID, text=TOY_MED, queue=2048, alpha_steps=400)
TOY_DATA = BLIPData(objects=(1, 2))

VITS = {
    "base": BLIPViTConfig(width=768, layers=12, heads=12),
    "large": BLIPViTConfig(width=1024, layers=24, heads=16),
}
PAPER_PAIRS = 14_000_000  # Li et al. 2022, section 4.1; its largest run has 129 M
COCO_PAIRS = 566_747  # Karpathy's training split: 113,287 pictures, five captions each
VQA_QUESTIONS = 658_111  # VQA v2's training and validation questions
PAPER_TRAIN = TrainConfig(weight_decay=0.05, beta2=0.999, clip_norm=0.0)
PAPER_RUN = RunConfig(
    precision="bf16", checkpointing=True, parallel="ddp", workers=8,
    eval_every=5000, save_every=1000, log_every=100,
)  # fmt: skip


def blip_of(size: str) -> BLIPConfig:
    """The paper's shape: "base" (ViT-B/16) or "large" (ViT-L/16), each with a BERT-base."""
    image = VITS[size]
    return BLIPConfig(image=image, text=MEDConfig(image_width=image.width))


def paper_recipe(size: str, batch: int, lr: float) -> Recipe:
    """Pretraining as in the paper's section 4.1: 20 epochs of 14 M pairs, all three losses.

    The learning rate falls along a cosine here, where the paper multiplies it by 0.85 an epoch. It
    starts from DeiT's ViT and BERT: name weights of yours with ``parts``, or begin from nothing.
    """
    return Recipe(
        name=f"blip-{size}",
        doc=f"BLIP ViT-{size[0].upper()}/16 as in the paper: 20 epochs of 14 M pairs; yours with "
        "data.source=…",
        model=blip_of(size),
        data=BLIPData(source="blip-14m", tokenizer="bert", context=30, augment="resized-crop+flip"),
        train=replace(
            PAPER_TRAIN, steps=20 * PAPER_PAIRS // batch, batch_size=batch, lr=lr, warmup=3000
        ),
        run=PAPER_RUN,
    )


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="blip-toy",
        doc="BLIP on the toy world, all three losses; its image tower begins as clip-toy-grid's.",
        model=TOY_BLIP,
        data=TOY_DATA,
        train=TrainConfig(steps=2000, batch_size=64, lr=1e-3),
        run=RunConfig(eval_every=1000, save_every=500),
        parts=(Part("image", "clip-toy-grid"),),
    ),
    paper_recipe("base", batch=2880, lr=3e-4),
    paper_recipe("large", batch=2400, lr=2e-4),
)
