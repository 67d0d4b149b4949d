"""CLIP's runs: the toy world's, one on photos, and the paper's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from vlcourse import tokenizers
from vlcourse.data.collate.pictures import Collate
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import clip as clip_evals
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.recipes.pairs import Pairs
from vlcourse.recipes.recipe import Measure, Part, Recipe, RecipeError, fitting


@dataclass(frozen=True)
class PairData(Pairs):
    """Pictures with captions. ``config`` in its methods is a `CLIPConfig`."""

    tokenizer: Literal["toy", "clip"] = "toy"
    """toy: the toy world's, shipped. clip: CLIP's own, whose merges must be on this machine."""

    def make_tokenizer(self, config: Any) -> tokenizers.ByteBPE:
        """The tokenizer that the text tower was built for.

        Raises:
            MergesError: when it is CLIP's and its merges are not on this machine.
            RecipeError: when it has another number of ids than the model, whose end of text is the
                largest one.
        """
        tokenizer = tokenizers.clip() if self.tokenizer == "clip" else tokenizers.toy()
        if tokenizer.vocab_size != config.text.vocab_size:
            raise RecipeError(
                f"data.tokenizer={self.tokenizer} has {tokenizer.vocab_size} ids, but "
                f"model.text.vocab_size is {config.text.vocab_size}: they do not belong together"
            )
        return tokenizer

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """The map-style dataset of a split.

        Raises:
            RecipeError: when the source is a plain name and no data folder has it, or a batch is a
                single pair.
        """
        if split == "train" and run.batch_size < 2:
            raise RecipeError(
                "train.batch_size=1: the contrastive loss of a single pair is always 0; use 2 or "
                "more"
            )
        return super().dataset(config, run, split)

    def collate(self, config: Any, train: bool) -> Collate:
        """Samples → batch; augmented only for training."""
        context, size = fitting(self.context, config.text.context), config.image.image_size
        augment = self.augment if train else "none"
        return Collate(self.make_tokenizer(config), size, context, augment)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Zero-shot classification and retrieval, as far as the data have classes and captions."""
        tokenizer = self.make_tokenizer(config)
        if self.source == "world":
            return lambda model: clip_evals.clip_world(clip_evals.as_clip(model), tokenizer)
        test = self.dataset(config, run, "test")
        if not test.classes:
            return lambda model: clip_evals.clip_pairs(clip_evals.as_clip(model), tokenizer, test)
        return lambda model: clip_evals.clip_labelled(
            clip_evals.as_clip(model), tokenizer, test, self.templates
        )


TOY_TEXT = TextConfig(
    vocab_size=tokenizers.TOY_VOCAB, context=64, width=128, layers=2, heads=4, activation="gelu"
)
TOY_VIT = ViTConfig(image_size=32, patch_size=4, width=96, layers=3, heads=4, activation="gelu")
TOY_RESNET = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=16, heads=8)
TOY_GRID = replace(TOY_RESNET, strides=(1, 2, 1, 1))  # 16 tokens for a language model to read
CAPSTONE_VIT = ViTConfig(
    image_size=32, patch_size=8, width=96, layers=2, heads=4, activation="gelu"
)
CAPSTONE_TEXT = TextConfig(
    vocab_size=tokenizers.TOY_VOCAB, context=64, width=64, layers=2, heads=4, activation="gelu"
)

PAPER_PAIRS, PAPER_BATCH = 400_000_000, 32_768  # Radford et al. 2021, sections 2.2 and 2.5

# Name, published shape, learning rate, epochs, start (tables 19 and 20; section 2.5).
PAPER_RUNS = (
    ("clip-rn50", "RN50", 5e-4, 32, ""),
    ("clip-rn101", "RN101", 5e-4, 32, ""),
    ("clip-rn50x4", "RN50x4", 5e-4, 32, ""),
    ("clip-rn50x16", "RN50x16", 4e-4, 32, ""),
    ("clip-rn50x64", "RN50x64", 3.6e-4, 32, ""),
    ("clip-vit-b32", "ViT-B/32", 5e-4, 32, ""),
    ("clip-vit-b16", "ViT-B/16", 5e-4, 32, ""),
    ("clip-vit-l14", "ViT-L/14", 4e-4, 32, ""),
    ("clip-vit-l14-336", "ViT-L/14@336", 2e-5, 1, "clip-vit-l14"),
)


def paper_recipe(name: str, shape: str, lr: float, epochs: int, start: str) -> Recipe:
    """A run of the paper, with the hyperparameters of its table 18.

    The 400 million pairs (WIT) were never published: ``data.source`` names the reader's own.
    Mixed precision is bf16 here, where the paper had float16.
    """
    vit = shape.startswith("ViT")
    train = TrainConfig(
        steps=epochs * PAPER_PAIRS // PAPER_BATCH, batch_size=PAPER_BATCH, lr=lr, warmup=2000,
        weight_decay=0.2, beta1=0.9, beta2=0.98 if vit else 0.999, eps=1e-6 if vit else 1e-8,
        clip_norm=0.0,
    )  # fmt: skip
    run = RunConfig(
        precision="bf16", checkpointing=True, parallel="ddp", workers=8,
        eval_every=PAPER_PAIRS // PAPER_BATCH, save_every=1000, log_every=100,
    )  # fmt: skip
    data = PairData(source="wit", tokenizer="clip", context=77, augment="random-square")
    epoch = f"{epochs} epochs" if epochs > 1 else f"one more epoch after {start}"
    doc = f"CLIP {shape} as in the paper: {epoch} of 400 M pairs; yours with data.source=…"
    parts = (Part("", start),) if start else ()
    return Recipe(name, doc, CLIPConfig.preset(shape), data, train, run, parts)


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="clip-toy",
        doc="CLIP on the toy world, to the end: the weights that ship with the course.",
        model=CLIPConfig(embed=128, image=TOY_RESNET, text=TOY_TEXT),
        data=PairData(),
        train=TrainConfig(steps=2500, batch_size=128, lr=2e-3),
        run=RunConfig(eval_every=500),
    ),
    Recipe(
        name="clip-toy-grid",
        doc="The same with an image tower that keeps a grid of 4×4 tokens, for models to read.",
        model=CLIPConfig(embed=128, image=TOY_GRID, text=TOY_TEXT),
        data=PairData(objects=(1, 3)),
        train=TrainConfig(steps=3000, batch_size=128, lr=2e-3, weight_decay=0.2),
        run=RunConfig(eval_every=500),
    ),
    Recipe(
        name="clip-toy-vit",
        doc="The same with a Vision Transformer tower, which needs many more steps for shapes.",
        model=CLIPConfig(embed=128, image=TOY_VIT, text=TOY_TEXT),
        data=PairData(),
        train=TrainConfig(steps=2500, batch_size=128, lr=1.5e-3),
        run=RunConfig(eval_every=500),
    ),
    Recipe(
        name="clip-capstone",
        doc="A small CLIP with a Vision Transformer tower, for a forward pass of your own.",
        model=CLIPConfig(embed=64, image=CAPSTONE_VIT, text=CAPSTONE_TEXT),
        data=PairData(objects=(1, 1)),
        train=TrainConfig(steps=400, batch_size=64, lr=2e-3, warmup=40),
    ),
    Recipe(
        name="clip-cifar",
        doc="CLIP on 10,000 CIFAR-10 photos with template captions.",
        model=CLIPConfig(embed=128, image=TOY_RESNET, text=TOY_TEXT),
        data=PairData(source="cifar10", augment="crop+flip"),
        train=TrainConfig(steps=2500, batch_size=128, lr=2e-3),
        run=RunConfig(eval_every=500),
    ),
    *(paper_recipe(*run) for run in PAPER_RUNS),
)
