"""Every run of the course as a frozen table entry: a toy run and a paper run differ in numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from vlcourse import paths, tokenizers
from vlcourse.data.batch import Collate
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.training import TrainConfig

PHOTO_TEMPLATES = (
    "a photo of a {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "a small photo of a {}.",
    "there is a {} in the photo.",
)


class RecipeError(ValueError):
    """A recipe that cannot be run as it stands, in one sentence."""


@dataclass(frozen=True)
class DataConfig:
    """What a run reads."""

    source: str = "world"
    """"world"; a local path; a folder's name to be looked for in the data folders; or a hub id."""
    n_train: int = 0
    """Training samples; 0 takes all of a real source."""
    objects: tuple[int, int] = (1, 4)
    """Fewest and most objects in a toy scene."""
    templates: tuple[str, ...] = PHOTO_TEMPLATES
    """Captions of a labelled source, with {} where the class name goes."""
    context: int = 64
    """Most tokens of a caption; longer ones are cut."""
    augment: str = "none"
    """none, crop or crop+flip; never flip where captions say left and right."""


@dataclass(frozen=True)
class Recipe:
    """A run, complete: what is built, what it reads, how it is trained."""

    name: str
    """What the command line calls it."""
    doc: str
    """What it is for, in a sentence."""
    model: CLIPConfig = field(default_factory=CLIPConfig)
    """The model."""
    data: DataConfig = field(default_factory=DataConfig)
    """The data."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The training."""

    def build_model(self) -> nn.Module:
        """A freshly initialised model (seed the generator first)."""
        return self.model.build()

    def tokenizer(self) -> tokenizers.ByteBPE:
        """The tokenizer that this recipe's text tower was built for."""
        return tokenizers.toy()

    def build_data(self, split: str) -> Any:
        """The map-style dataset of a split: "train", or "test" for the evaluation.

        Raises:
            RecipeError: when the source is a plain name and no data folder has it.
        """
        from vlcourse.data import hub, world

        data, size = self.data, self.model.image.image_size
        if data.source == "world":
            samples = data.n_train or self.train.steps * self.train.batch_size
            return world.World(split, samples, size, data.objects, seed=self.train.seed)
        source = data.source
        if "/" not in source and "." not in source:
            if not (found := paths.find_data(source)):
                looked = ", ".join(str(folder) for folder in paths.data_folders())
                raise RecipeError(
                    f"the recipe {self.name} reads the folder {source!r}, which is in none of "
                    f"{looked}: put it there, or name a path or a hub id with data.source=…"
                )
            source = str(found)
        limit = data.n_train if split == "train" else 0
        return hub.open_source(source, split=split, template=data.templates, limit=limit or None)

    def collate(self, train: bool) -> Collate:
        """Samples → batch; augmented only for training."""
        augment = self.data.augment if train else "none"
        size, context = self.model.image.image_size, self.data.context
        return Collate(self.tokenizer(), size, context, augment)

    def evaluator(self) -> Callable[[nn.Module], dict[str, float]]:
        """The measurements of this recipe as a function of a model."""
        from vlcourse import evals

        tokenizer = self.tokenizer()
        if self.data.source == "world":
            return lambda model: evals.clip_world(evals.as_clip(model), tokenizer)
        test = self.build_data("test")
        return lambda model: evals.clip_labelled(
            evals.as_clip(model), tokenizer, test, self.data.templates
        )


TOY_TEXT = TextConfig(
    vocab_size=tokenizers.TOY_VOCAB, context=64, width=128, layers=2, heads=4, activation="gelu"
)
TOY_VIT = ViTConfig(image_size=32, patch_size=4, width=96, layers=3, heads=4, activation="gelu")
TOY_RESNET = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=16, heads=8)

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
    )
}

SHIPPED: tuple[str, ...] = ("clip-toy", "clip-cifar")
