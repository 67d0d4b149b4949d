"""Videos and pictures to batches: frames side by side, filled up where a video has fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.collate.pictures import (
    Augmentation,
    normalise,
    random_square,
    resize,
    resized_crop,
)
from vlcourse.layers.ranges import RangeError

AUGMENTATIONS: tuple[Augmentation, ...] = ("none", "random-square", "resized-crop+flip")


def clip_pixels(
    clip: Tensor, size: int, augment: Augmentation, generator: torch.Generator | None
) -> Tensor:
    """Frames uint8 (T, 3, H, W) → (T, 3, size, size) float32, normalised; all changed alike.

    The arguments are those of :func:`vlcourse.data.collate.pictures.pixels`.
    """
    if augment == "random-square":
        clip = random_square(clip, size, generator)
    elif augment == "resized-crop+flip":
        clip = resized_crop(clip, size, generator)
        clip = clip.flip(-1) if torch.rand((), generator=generator) < 0.5 else clip
    else:
        clip = resize(clip, size)
    return normalise(clip)


@dataclass(frozen=True)
class VideoCollate:
    """Samples → batch: the chats, and the videos or pictures that they are about.

    Args:
        text: what makes tokens and targets.
        image_size: side of the frames in the batch, in pixels.
        augment: none, random-square or resized-crop+flip, the same for all frames of a video.
    """

    text: DialogueCollate
    image_size: int = 32
    augment: Augmentation = "none"

    def __post_init__(self) -> None:
        if self.augment not in AUGMENTATIONS:
            raise RangeError(
                f"augment {self.augment!r} is for pictures alone; of a video all frames change "
                f"alike: take one of {', '.join(AUGMENTATIONS)}"
            )

    def __call__(
        self, samples: Sequence[dict[str, Any]], generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Make a batch.

        Args:
            samples: as :class:`DialogueCollate` takes them, each with "frames" uint8 (T, 3, H, W)
                and "seconds", their T times; with "image" uint8 (3, H, W); or with "features"
                (T, N, C) or (N, C).
            generator: where the augmentation's chance comes from.

        Returns:
            What :class:`DialogueCollate` gives, and ``{"pixels": (B, T, 3, S, S) or "features":
            (B, T, N, C), "seconds": (B, T) float32, 0 for a picture, "shown": (B, T) bool}``, the
            last where videos have different numbers of frames.
        """
        clips = [self._clip(sample, generator) for sample in samples]
        times = [torch.tensor(sample.get("seconds", (0.0,))) for sample in samples]
        name = "features" if "features" in samples[0] else "pixels"
        counts = torch.tensor([len(clip) for clip in clips])
        found = {name: _filled(clips), "seconds": _filled(times), **self.text(samples, generator)}
        if not (counts == counts[0]).all():
            found["shown"] = torch.arange(int(counts.max())) < counts[:, None]
        return found

    def _clip(self, sample: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        """(T, 3, S, S), or (T, N, C)."""
        if "features" in sample:
            features = sample["features"].float()
            return features[None] if features.ndim == 2 else features
        frames = sample["frames"] if "frames" in sample else sample["image"][None]
        return clip_pixels(frames, self.image_size, self.augment, generator)


def _filled(rows: Sequence[Tensor]) -> Tensor:
    """(T, …) each → (B, longest T, …), zeros at the end."""
    whole = rows[0].new_zeros(len(rows), max(map(len, rows)), *rows[0].shape[1:])
    for place, row in zip(whole, rows, strict=True):
        place[: len(row)] = row
    return whole
