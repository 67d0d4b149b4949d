"""From samples to a batch: pixels to one size and scale, captions to token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.ranges import RangeError
from vlcourse.tokenizers.byte_bpe import ByteBPE

MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's pixel statistics, RGB in [0, 1]
STD = (0.26862954, 0.26130258, 0.27577711)
# A longer picture is cropped before it is resized: 1 × 20,000 pixels would become a billion.
LONGEST = 8  # times the short side
Augmentation = Literal["none", "crop", "crop+flip", "random-square", "resized-crop+flip"]


def normalise(images: Tensor) -> Tensor:
    """uint8 (…, 3, H, W) → float32 of the same shape, with CLIP's mean and deviation."""
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1) * 255
    std = torch.tensor(STD, device=images.device).view(3, 1, 1) * 255
    return (images.float() - mean) / std


def denormalise(pixels: Tensor) -> Tensor:
    """The inverse of :func:`normalise`, clamped and rounded to uint8, for showing pictures."""
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1) * 255
    std = torch.tensor(STD, device=pixels.device).view(3, 1, 1) * 255
    return (pixels * std + mean).round().clamp(0, 255).to(torch.uint8)


def resize(image: Tensor, size: int) -> Tensor:
    """Bicubic resize of the short side to ``size``, then a centre crop: uint8 (3, size, size)."""
    if image.shape[-2:] == (size, size):
        return image
    # Imported here: it takes longer than all else together, and the toy world never comes here.
    from torchvision.transforms.v2 import functional as TF

    if max(image.shape[-2:]) > LONGEST * min(image.shape[-2:]):
        image = TF.center_crop(image, [min(image.shape[-2:])] * 2)
    image = TF.resize(image, [size], interpolation=TF.InterpolationMode.BICUBIC, antialias=True)
    return TF.center_crop(image, [size, size])


def random_square(image: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """Bicubic resize of the short side to ``size``, then a random square: uint8 (3, size, size).

    The only augmentation of the paper (Radford et al. 2021, section 2.3).
    """
    from torchvision.transforms.v2 import functional as TF

    short = min(image.shape[-2:])
    if max(image.shape[-2:]) > LONGEST * short:  # the square first: each place is as likely
        places = [
            int(torch.randint(n - short + 1, (), generator=generator)) for n in image.shape[-2:]
        ]
        return resize(TF.crop(image, *places, short, short), size)
    image = TF.resize(image, [size], interpolation=TF.InterpolationMode.BICUBIC, antialias=True)
    places = [int(torch.randint(n - size + 1, (), generator=generator)) for n in image.shape[-2:]]
    return TF.crop(image, *places, size, size)


def resized_crop(image: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """A random part of 20 to 100 % of the picture, brought to uint8 (3, size, size).

    Its sides are as 3 : 4 to 4 : 3 (Szegedy et al. 2015, section 6; BLIP trains with it). Where no
    such part fits, it is the centre.
    """
    from torchvision.transforms.v2 import functional as TF

    height, width = image.shape[-2:]
    for _ in range(10):
        share, shape, y, x = torch.rand(4, generator=generator).tolist()
        area, ratio = height * width * (0.2 + 0.8 * share), (3 / 4) ** (1 - 2 * shape)
        h, w = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
        if 0 < h <= height and 0 < w <= width:
            top, left = int(y * (height - h + 1)), int(x * (width - w + 1))
            return TF.resized_crop(
                image, top, left, h, w, [size, size],
                interpolation=TF.InterpolationMode.BICUBIC, antialias=True,
            )  # fmt: skip
    return resize(image, size)


def random_crop(images: Tensor, padding: int, generator: torch.Generator | None) -> Tensor:
    """Shift each picture by up to ``padding`` pixels; the border is mirrored. (B, 3, S, S)."""
    batch, _, size, _ = images.shape
    padded = F.pad(images.float(), [padding] * 4, mode="reflect").to(images.dtype)
    offset = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator)
    rows = offset[0][:, None] + torch.arange(size)  # (B, S)
    columns = offset[1][:, None] + torch.arange(size)
    picked = padded[torch.arange(batch)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.movedim(-1, 1)  # (B, S, S, 3) → (B, 3, S, S)


def check_augmentation(name: str) -> None:
    """RangeError if there is none of that name."""
    if name not in (known := get_args(Augmentation)):
        raise RangeError(f"augment {name!r} is not one of {', '.join(known)}")


def pixels(
    images: Sequence[Tensor], size: int, augment: Augmentation, generator: torch.Generator | None
) -> Tensor:
    """Pictures uint8 (3, H, W), of any sizes → (B, 3, size, size) float32, normalised.

    Args:
        images: the pictures.
        size: side of the result, in pixels.
        augment: "none"; "crop" (a random shift by up to an eighth of the side); "crop+flip";
            "random-square" (CLIP's: anywhere along the long side instead of its centre);
            "resized-crop+flip" (BLIP's, without its RandAugment).
        generator: where chance comes from.
    """
    one = {"random-square": random_square, "resized-crop+flip": resized_crop}.get(augment)
    stacked = torch.stack([one(i, size, generator) if one else resize(i, size) for i in images])
    if augment.startswith("crop"):
        stacked = random_crop(stacked, size // 8, generator)
    if augment.endswith("flip"):
        flip = torch.rand(len(stacked), generator=generator) < 0.5
        stacked = torch.where(flip.view(-1, 1, 1, 1), stacked.flip(-1), stacked)
    return normalise(stacked)


@dataclass(frozen=True)
class Collate:
    """Samples → batch, as a pure function of the samples and a random generator.

    Args:
        tokenizer: turns the captions into ids.
        image_size: side of the pictures in the batch, in pixels.
        context: most tokens a caption may have; longer ones are truncated.
        augment: as in :func:`pixels`. Never flip pictures whose captions say left and right.
    """

    tokenizer: ByteBPE
    image_size: int = 32
    context: int = 77
    augment: Augmentation = "none"

    def __post_init__(self) -> None:
        check_augmentation(self.augment)

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Returns:
            ``{"pixels": (B, 3, S, S) float32, "tokens": (B, L) int64, "ids": list of str,
            "captions": list of str}``, and ``"labels": (B,)`` when the samples have a label.
        """
        captions = [str(s["caption"]) for s in samples]
        batch = {
            "pixels": pixels(
                [s["image"] for s in samples], self.image_size, self.augment, generator
            ),
            "tokens": self.tokenizer(captions, self.context, truncate=True),
            "ids": [s["id"] for s in samples],
            "captions": captions,
        }
        if all("label" in s for s in samples):
            batch["labels"] = torch.tensor([s["label"] for s in samples])
        return batch


def seen(
    samples: Sequence[dict[str, Any]],
    size: int,
    augment: Augmentation,
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """What a batch shows: :func:`pixels` of the samples' "image", or their stored "features".

    Returns:
        ``{"pixels": (B, 3, size, size)}``, or ``{"features": (B, N, C) float32}``
        (:mod:`vlcourse.recipes.features`).
    """
    if "features" in samples[0]:
        return {"features": torch.stack([s["features"] for s in samples]).float()}
    return {"pixels": pixels([s["image"] for s in samples], size, augment, generator)}
