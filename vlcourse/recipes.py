"""Every run of the course as a frozen table entry: a toy run and a paper run differ in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from vlcourse import checkpoint, paths, tokenizers
from vlcourse.models.clip import CLIP, CLIPConfig, TextConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.recipe_data import DataConfig, Measure, RecipeError, TextData
from vlcourse.training import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """A run, complete: what is built, what it reads, how it is trained."""

    name: str
    """What the command line calls it."""
    doc: str
    """What it is for, in a sentence."""
    model: CLIPConfig | LLaMAConfig | Seq2SeqConfig = field(default_factory=CLIPConfig)
    """The model."""
    data: DataConfig | TextData = field(default_factory=DataConfig)
    """The data, of the kind that the model reads."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The training."""

    def build_model(self) -> nn.Module:
        """A freshly initialised model (seed the generator first)."""
        return self.model.build()

    def started_model(self) -> nn.Module:
        """The model that the run of ``train.start`` ended with, at this recipe's image size.

        Raises:
            RecipeError: when there is no such recipe, or its model differs in more than that.
            CheckpointError: when it has not been trained here.
        """
        if self.train.start not in RECIPES:
            raise RecipeError(f"train.start={self.train.start} is no recipe's name")
        model = RECIPES[self.train.start].model.build()
        checkpoint.load_weights(model, paths.runs_dir() / self.train.start)
        if isinstance(model, CLIP) and isinstance(self.model, CLIPConfig):
            model = model.at_resolution(self.model.image.image_size)
        if model.config != self.model:
            raise RecipeError(
                f"{self.name} cannot start from {self.train.start}: their models differ in more "
                "than the size of the image"
            )
        return model

    def tokenizer(self) -> Any:
        """The tokenizer that this recipe's model was built for; see ``data.make_tokenizer``."""
        return self.data.make_tokenizer(self.model)

    def build_data(self, split: str) -> Any:
        """The dataset of a split: "train", or "test" for the evaluation."""
        return self.data.dataset(self.name, self.model, self.train, split)

    def collate(self, train: bool) -> Any:
        """Samples → batch; augmented only for training."""
        return self.data.collate(self.model, train)

    def evaluator(self) -> Measure:
        """The measurements of this recipe as a function of a model."""
        return self.data.evaluator(self.name, self.model, self.train)


TOY_WORDS = 622  # ids of the toy language models' tokenizer

TOY_TEXT = TextConfig(
    vocab_size=tokenizers.TOY_VOCAB, context=64, width=128, layers=2, heads=4, activation="gelu"
)
TOY_VIT = ViTConfig(image_size=32, patch_size=4, width=96, layers=3, heads=4, activation="gelu")
TOY_RESNET = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=16, heads=8)

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
        clip_norm=0.0, precision="bf16", checkpointing=True, parallel="ddp", start=start,
        eval_every=PAPER_PAIRS // PAPER_BATCH, save_every=1000, log_every=100, workers=8,
    )  # fmt: skip
    data = DataConfig(source="wit", tokenizer="clip", context=77, augment="random-square")
    epoch = f"{epochs} epochs" if epochs > 1 else f"one more epoch after {start}"
    doc = f"CLIP {shape} as in the paper: {epoch} of 400 M pairs; yours with data.source=…"
    return Recipe(name, doc, CLIPConfig.preset(shape), data, train)


LLAMA_BATCH, LLAMA_CONTEXT = 2048, 2048  # 4 M tokens (Touvron et al. 2023, table 2)

# Name, published shape, learning rate, tokens (Touvron et al. 2023, table 2).
LLAMA_RUNS = (
    ("llama-7b", "7B", 3e-4, 1.0e12),
    ("llama-13b", "13B", 3e-4, 1.0e12),
    ("llama-33b", "33B", 1.5e-4, 1.4e12),
    ("llama-65b", "65B", 1.5e-4, 1.4e12),
)


def llama_recipe(name: str, shape: str, lr: float, tokens: float) -> Recipe:
    """A run of the LLaMA paper, with the hyperparameters of its section 2.3.

    Its mixture of public texts is yours to name with ``data.source``, and so is the tokenizer.
    """
    train = TrainConfig(
        steps=round(tokens / (LLAMA_BATCH * LLAMA_CONTEXT)), batch_size=LLAMA_BATCH, lr=lr,
        warmup=2000, min_lr=0.1, weight_decay=0.1, beta1=0.9, beta2=0.95, clip_norm=1.0,
        precision="bf16", checkpointing=True, parallel="fsdp", save_every=1000, log_every=10,
        eval_every=1000, workers=1,
    )  # fmt: skip
    data = TextData(source="mixture", tokenizer="tokenizer.model", context=LLAMA_CONTEXT)
    doc = f"LLaMA {shape} as in the paper: {tokens / 1e12:.1f} T tokens; yours with data.source=…"
    return Recipe(name, doc, LLaMAConfig.preset(shape), data, train)


TOY_LLAMA = LLaMAConfig(vocab_size=TOY_WORDS, width=64, layers=3, heads=4, hidden=176, context=512)

# What both readers share. How many documents each lesson takes, and so how many steps the whole,
# was found by going on to the next as soon as the training loss or new lists showed that the last
# was learned.
READER_DATA = TextData(mixture=(80, 10, 4, 6), brief=70, focused=30)
READER_TRAIN = TrainConfig(
    batch_size=64, lr=1.8e-3, warmup=50, min_lr=0.1, weight_decay=0.3, eval_every=200
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="clip-toy",
            doc="CLIP on the toy world, to the end: the weights that ship with the course.",
            model=CLIPConfig(embed=128, image=TOY_RESNET, text=TOY_TEXT),
            train=TrainConfig(steps=2500, batch_size=128, lr=2e-3, eval_every=500),
        ),
        Recipe(
            name="clip-toy-vit",
            doc="The same with a Vision Transformer tower, which needs many more steps for shapes.",
            model=CLIPConfig(embed=128, image=TOY_VIT, text=TOY_TEXT),
            train=TrainConfig(steps=2500, batch_size=128, lr=1.5e-3, eval_every=500),
        ),
        Recipe(
            name="clip-live",
            doc="CLIP on the toy world in under 90 seconds, to watch it learn in the lecture.",
            model=CLIPConfig(embed=128, image=TOY_RESNET, text=TOY_TEXT),
            data=DataConfig(objects=(1, 2)),
            train=TrainConfig(steps=500, batch_size=128, lr=3e-3, warmup=50),
        ),
        Recipe(
            name="clip-cifar",
            doc="CLIP on 10,000 CIFAR-10 photos with template captions.",
            model=CLIPConfig(embed=128, image=TOY_RESNET, text=TOY_TEXT),
            data=DataConfig(source="cifar10", augment="crop+flip"),
            train=TrainConfig(steps=2500, batch_size=128, lr=2e-3, eval_every=500),
        ),
        *(paper_recipe(*run) for run in PAPER_RUNS),
        Recipe(
            name="llm-toy",
            doc="A LLaMA on the toy corpus that reads a scene and answers questions about it.",
            model=TOY_LLAMA,
            data=replace(READER_DATA, recall=(19_200, 19_200, 25_600, 20_480, 30_720)),
            train=replace(READER_TRAIN, steps=5600),
        ),
        Recipe(
            name="seq2seq-toy",
            doc="An encoder–decoder on the same corpus, which reads first and then answers.",
            model=Seq2SeqConfig(
                vocab_size=TOY_WORDS,
                width=64,
                encoder_layers=3,
                decoder_layers=3,
                heads=4,
                head_width=16,
                hidden=128,
                max_distance=64,
            ),
            data=replace(READER_DATA, brief=40, recall=(12_800, 20_480, 17_920, 64_000, 15_360)),
            train=replace(READER_TRAIN, steps=4000),
        ),
        Recipe(
            name="llm-live",
            doc="A LLaMA on the toy corpus in under 90 seconds, to watch it learn in the lecture.",
            model=TOY_LLAMA,
            data=TextData(mixture=(0, 30, 20, 50), objects=(1, 3)),
            train=TrainConfig(steps=900, batch_size=32, lr=3e-3, warmup=20, min_lr=0.1),
        ),
        *(llama_recipe(*run) for run in LLAMA_RUNS),
    )
}

SHIPPED: tuple[str, ...] = ("clip-toy", "clip-cifar", "llm-toy", "seq2seq-toy")
