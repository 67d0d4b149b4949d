"""What the experiments train: arms that share a tower, data, steps and optimiser, and differ in one
thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import engine
from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.resnet import ResNet, ResNetConfig
from vlcourse.models.vit import ViT, ViTConfig
from vlcourse.recipes.clip import TOY_TEXT
from vlcourse.tokenizers.byte_bpe import toy

Sample = dict[str, Any]


class Classifier(nn.Module):
    """An image tower and one linear layer on its features, trained on labels."""

    def __init__(self, image: ViTConfig | ResNetConfig, embed: int, classes: int) -> None:
        super().__init__()
        self.image, width = image_tower(image, embed)
        self.head = nn.Linear(width, classes)

    def logits(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, classes)."""
        return self.head(self.image(pixels)[0])

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``{"pixels", "labels"}`` → ``{"ce": cross-entropy}``."""
        return {"ce": F.cross_entropy(self.logits(batch["pixels"]), batch["labels"])}


def image_tower(config: ViTConfig | ResNetConfig, embed: int) -> tuple[nn.Module, int]:
    """A tower, and the size of its features (a ResNet's attention pooling gives ``embed``)."""
    if isinstance(config, ViTConfig):
        return ViT(config), config.width
    return ResNet(config, embed), embed


class OneObject:
    """One-object scenes with their caption and with a label, the index into `world.SEEN`."""

    classes = tuple(world.class_prompt(*pair) for pair in world.SEEN)

    def __init__(self, n: int, size: int, seed: int = 0) -> None:
        self.world = world.World("train", n, size, (1, 1), seed)

    def __len__(self) -> int:
        return len(self.world)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Samples of the toy world with "label"."""
        samples = self.world.__getitems__(indices)
        for sample in samples:
            thing = sample["scene"].objects[0]
            sample["label"] = world.SEEN.index((thing.colour, thing.shape))
        return samples


class Pictures:
    """Pictures and labels in memory as samples (their captions are the class names)."""

    def __init__(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
        self.images, self.labels, self.classes = images, labels, tuple(classes)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        label = int(self.labels[index])
        name = self.classes[label]
        return {"id": str(index), "image": self.images[index], "caption": name, "label": label}

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Many samples."""
        return [self[i] for i in indices]


def seen_pictures(
    split: str, n: int, size: int, seed: int = 0, shift: str | None = None
) -> tuple[Tensor, Tensor]:
    """`world.single_object_set` of a split with seen classes; labels are indices into `SEEN`."""
    images, labels = world.single_object_set(split, n, size, seed, shift)
    index = torch.full((len(world.CLASSES),), -1)
    for i, pair in enumerate(world.SEEN):
        index[world.CLASSES.index(pair)] = i
    return images, index[labels]


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], images: Tensor, size: int = 256) -> Tensor:
    """``function`` of normalised pictures, over uint8 (N, 3, S, S), concatenated."""
    return torch.cat([function(normalise(chunk)) for chunk in images.split(size)])


def train(
    model: nn.Module,
    dataset: Any,
    collate: Callable[..., dict[str, Any]],
    config: TrainConfig,
    run: RunConfig,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> engine.Result:
    """`engine.fit`, writing nothing and plotting nothing."""
    return engine.fit(model, dataset, collate, config, run, evaluate=evaluate, plot=False)


def text_collate(image_size: int, augment: str = "none") -> Callable[..., dict[str, Any]]:
    """The toy world's collate."""
    from vlcourse.data.collate.pictures import Collate

    return Collate(toy(), image_size, TOY_TEXT.context, augment)
