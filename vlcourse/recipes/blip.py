"""BLIP's runs: the toy world's, and the paper's."""

from __future__ import annotations

from dataclasses import replace

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.blip import BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.blip_vqa import BLIPAnswererConfig
from vlcourse.models.med_config import MEDConfig
from vlcourse.recipes.blip_data import BLIPData, QuestionData
from vlcourse.recipes.clip import TOY_GRID
from vlcourse.recipes.recipe import Part, Recipe
from vlcourse.tokenizers import TOY_VOCAB

TOY_MED = MEDConfig(
    vocab_size=TOY_VOCAB + 2, context=64, width=128, layers=3, heads=4,
    image_width=32 * TOY_GRID.width, cls=TOY_VOCAB - 2, sep=TOY_VOCAB - 1, enc=TOY_VOCAB,
    dec=TOY_VOCAB + 1,
)  # fmt: skip
TOY_BLIP = BLIPConfig(
    embed=128, image=TOY_GRID, text=TOY_MED, queue=2048, alpha_steps=400, temperature_lr=0.1
)
TOY_DATA = BLIPData(objects=(1, 2))
# Batches of 64 hold hardly two scenes that differ only in who stands where; the paper's 2,880 do.
FOILED = replace(TOY_DATA, foils=True)

VITS = {
    "base": BLIPViTConfig(width=768, layers=12, heads=12),
    "large": BLIPViTConfig(width=1024, layers=24, heads=16),
}
PAPER_PAIRS = 14_000_000  # Li et al. 2022, section 4.1; its largest run has 129 M
COCO_PAIRS = 566_747  # Karpathy's training split: 113,287 pictures, five captions each
VQA_QUESTIONS = 658_111  # VQA v2's training and validation questions
PAPER_TRAIN = TrainConfig(weight_decay=0.05, beta2=0.999, clip_norm=0.0)
# One process, so that data of the reader's own need no more; run.parallel=ddp under torchrun.
PAPER_RUN = RunConfig(
    precision="bf16", checkpointing=True, workers=2,
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


def at(size: int) -> BLIPViTConfig:
    """The base image tower for larger pictures, whose positions are then interpolated."""
    return replace(VITS["base"], image_size=size)


def answerer_of(config: BLIPConfig) -> BLIPAnswererConfig:
    """A BLIP's shape with a decoder of its own for answers (section 5.3)."""
    text = replace(config.text, sharing="none", source_width=config.text.width)
    return BLIPAnswererConfig(config.image, text, config.embed)


# Fine-tuning as in the paper (sections 5.1 to 5.3, and the settings of salesforce/BLIP).
FINE_TUNED: tuple[Recipe, ...] = (
    Recipe(
        name="blip-base-retrieval",
        doc="BLIP fine-tuned for retrieval as in the paper: 6 epochs of COCO at 384 px; yours with "
        "data.source=…",
        model=replace(blip_of("base"), image=at(384), tasks=("itc", "itm")),
        data=BLIPData(
            source="coco", tokenizer="bert", context=35, augment="resized-crop+flip", groups=True
        ),
        train=replace(
            PAPER_TRAIN, steps=6 * COCO_PAIRS // 256, batch_size=256, lr=1e-5, warmup=0
        ),
        run=PAPER_RUN,
        parts=(Part("", "blip-base"),),
    ),
    Recipe(
        name="blip-base-caption",
        doc="BLIP fine-tuned for captions as in the paper: 5 epochs of COCO at 384 px; yours with "
        "data.source=…",
        model=replace(blip_of("base"), image=at(384), tasks=("lm",), prompt=4),
        data=BLIPData(
            source="coco", tokenizer="bert", context=40, augment="resized-crop+flip",
            prompt="a picture of",
        ),
        train=replace(
            PAPER_TRAIN, steps=5 * COCO_PAIRS // 256, batch_size=256, lr=1e-5, warmup=0
        ),
        run=PAPER_RUN,
        parts=(Part("", "blip-base"),),
    ),
    Recipe(
        name="blip-base-vqa",
        doc="BLIP fine-tuned for questions as in the paper: 10 epochs of VQA v2 at 480 px; yours "
        "with data.source=…",
        model=answerer_of(replace(blip_of("base"), image=at(480))),
        data=QuestionData(
            source="vqa", tokenizer="bert", context=35, augment="resized-crop+flip"
        ),
        train=replace(
            PAPER_TRAIN, steps=10 * VQA_QUESTIONS // 256, batch_size=256, lr=2e-5, warmup=0
        ),
        run=PAPER_RUN,
        parts=(Part("", "blip-base"),),
    ),
)  # fmt: skip

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="blip-toy",
        doc="BLIP on the toy world, all three losses; its image tower begins as clip-toy-grid's.",
        model=TOY_BLIP,
        data=FOILED,
        train=TrainConfig(steps=3000, batch_size=64, lr=1e-3),
        run=RunConfig(eval_every=1500, save_every=500),
        parts=(Part("image", "clip-toy-grid"),),
    ),
    Recipe(
        name="blip-toy-retrieval",
        doc="blip-toy fine-tuned for retrieval: comparing and matching only.",
        model=replace(TOY_BLIP, tasks=("itc", "itm")),
        data=FOILED,
        train=TrainConfig(steps=300, batch_size=64, lr=3e-4, warmup=30),
        parts=(Part("", "blip-toy"),),
    ),
    Recipe(
        name="blip-toy-filter",
        doc="blip-toy fine-tuned as a filter: true texts that say little are true, too.",
        model=replace(TOY_BLIP, tasks=("itc", "itm")),
        data=replace(TOY_DATA, halves=50, truth=True),
        train=TrainConfig(steps=150, batch_size=64, lr=3e-4, warmup=30),
        parts=(Part("", "blip-toy"),),
    ),
    Recipe(
        name="blip-toy-caption",
        doc="blip-toy fine-tuned for captions: writing only.",
        model=replace(TOY_BLIP, tasks=("lm",)),
        data=TOY_DATA,
        train=TrainConfig(steps=300, batch_size=64, lr=3e-4, warmup=30),
        parts=(Part("", "blip-toy"),),
    ),
    Recipe(
        name="blip-toy-vqa",
        doc="blip-toy fine-tuned to answer questions about the toy world.",
        model=answerer_of(TOY_BLIP),
        data=QuestionData(objects=(1, 2)),
        train=TrainConfig(steps=2000, batch_size=128, lr=1e-3),
        run=RunConfig(eval_every=1000, save_every=500),
        parts=(Part("", "blip-toy"),),
    ),
    Recipe(
        name="blip-capstone",
        doc="A small BLIP without queues, for the three losses of your own.",
        model=replace(
            TOY_BLIP,
            text=replace(TOY_MED, width=96, layers=2),
            queue=0,
            momentum=0.98,
            alpha_steps=100,
        ),
        data=TOY_DATA,
        train=TrainConfig(steps=100, batch_size=32, lr=2e-3, warmup=20),
        parts=(Part("image", "clip-toy-grid"),),
    ),
    paper_recipe("base", batch=2880, lr=3e-4),
    paper_recipe("large", batch=2400, lr=2e-4),
    *FINE_TUNED,
)
