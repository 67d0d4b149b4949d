"""Pictures with captions, as runs of several systems read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vlcourse.data import sources, world
from vlcourse.data.collate.pictures import Augmentation, check_augmentation
from vlcourse.data.sources.columns import check_templates
from vlcourse.data.world.arrays import check_objects
from vlcourse.engine.config import TrainConfig
from vlcourse.layers.ranges import check
from vlcourse.recipes.recipe import find_source

PHOTO_TEMPLATES = (
    "a photo of a {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "a small photo of a {}.",
    "there is a {} in the photo.",
)


@dataclass(frozen=True)
class Pictures:
    """Where pictures with texts come from, and what is done to them."""

    source: str = "world"
    """"world"; a local path; a folder's name to be looked for in the data folders; or a hub id."""
    image: str | None = None
    """The column of pictures or of their paths; none: found by its name."""
    n_train: int = 0
    """Training samples; 0 takes all of a real source."""
    objects: tuple[int, int] = (1, 4)
    """Fewest and most objects in a toy scene."""
    context: int = 64
    """Most tokens of a text; longer ones are cut."""
    augment: Augmentation = "none"
    """none, crop, crop+flip, random-square (CLIP's) or resized-crop+flip (BLIP's); never flip where
    captions say left and right."""

    def __post_init__(self) -> None:
        check(self, n_train=(0, 10**12), context=(2, 10**6))
        check_objects(self.objects)
        check_augmentation(self.augment)


@dataclass(frozen=True)
class Pairs(Pictures):
    """Pictures with captions; a system adds its tokenizer and measures."""

    caption: str | None = None
    """The column of captions; none: found by its name."""
    templates: tuple[str, ...] = PHOTO_TEMPLATES
    """Captions of a labelled source, with {} where the class name goes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_templates(self.templates)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """The map-style dataset of a split.

        Raises:
            RecipeError: when the source is a plain name and no data folder has it.
        """
        if self.source == "world":
            samples = self.n_train or run.steps * run.batch_size
            size = config.image.image_size
            return world.World(split, samples, size, self.objects, seed=run.seed)
        limit = self.n_train if split == "train" else 0
        source = find_source(self.source)
        return sources.open_source(
            source, split=split, image=self.image, caption=self.caption,
            template=self.templates, limit=limit or None,
        )  # fmt: skip
